"""How fast a swarm brings services up and down, updates them, and replaces a task that was killed. Lower is better.

Five daemons on this machine (three managers, two workers), tasks are processes (`sleep`), everything goes through the
Engine API. The times are those at which a client that asks every 20 ms sees it.

    python benchmarks/replicas.py [--rounds 3] [--replicas 1,10,50,100] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from benchmarks.harness.surroundings import describe_machine, load_average, one_at_a_time
from benchmarks.harness.tables import figure, render
from raftswarm.api.tasks import TaskJson
from raftswarm.client import EngineClient
from raftswarm.local import LocalSwarm
from raftswarm.objects.specs import (
    ContainerSpec,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)

LOOK_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 120.0
RESTART_DELAY_SECONDS: Final = 1.0
MONITOR_SECONDS: Final = 5.0
DOCKER: Final = {
    "up to 1": 0.48,
    "up to 10": 1.47,
    "up to 50": 6.5,
    "up to 100": 13.5,
    "100 down to 10": 6.6,
    "update of 20 by 5: all new ones run": 8.3,
    "update of 20 by 5: completed": 12.9,
}
"""Seconds that Docker Swarm 20.10 took on a machine of two cores, with containers."""

SECOND: Final = 1_000_000_000


def sleepers(name: str, replicas: int, seconds: int = 100_000) -> ServiceSpec:
    """A service of so many processes that do nothing, and stop at once when they are told to."""
    container = ContainerSpec(image="sleep", command=["sleep", str(seconds)], stop_grace_period=0)
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(
            container_spec=container, restart_policy=RestartPolicy(delay=round(RESTART_DELAY_SECONDS * SECOND))
        ),
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
        update_config=UpdateConfig(parallelism=5, monitor=round(MONITOR_SECONDS * SECOND)),
    )


def running(tasks: Sequence[TaskJson]) -> list[TaskJson]:
    """Those that run and should."""
    return [task for task in tasks if task.status.state == "running" and task.desired_state == "running"]


async def until(client: EngineClient, service: str, holds: Callable[[Sequence[TaskJson]], bool]) -> None:
    """Wait until that is so of a service's tasks."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds(await client.tasks({"service": [service]})):  # noqa: ASYNC110 - a client can only ask
            await trio.sleep(LOOK_SECONDS)


async def scale(client: EngineClient, service: str, replicas: int) -> None:
    """Ask for another number of tasks."""
    found = await client.service(service)
    mode = ServiceMode(replicated=Replicated(replicas=replicas))
    await client.update_service(found.id, found.version.index, replace(found.spec, mode=mode))


async def measure_up(client: EngineClient, replicas: int) -> float:
    """Create a service; until all its tasks run."""
    began = trio.current_time()
    service = await client.create_service(sleepers(f"up{replicas}", replicas))
    await until(client, service, lambda tasks: len(running(tasks)) == replicas)
    took = trio.current_time() - began
    await client.remove_service(service)
    await _until_gone(client)
    return took


async def measure_down(client: EngineClient, many: int, few: int) -> float:
    """Scale down; until nothing runs that should not."""
    service = await client.create_service(sleepers("down", many))
    await until(client, service, lambda tasks: len(running(tasks)) == many)
    began = trio.current_time()
    await scale(client, service, few)
    await until(client, service, lambda tasks: sum(task.status.state == "running" for task in tasks) == few)
    took = trio.current_time() - began
    await client.remove_service(service)
    await _until_gone(client)
    return took


async def measure_update(client: EngineClient, replicas: int) -> tuple[float, float]:
    """Replace every task, five at a time; until all new ones run, and until the update counts as completed."""
    service = await client.create_service(sleepers("rolling", replicas))
    await until(client, service, lambda tasks: len(running(tasks)) == replicas)
    found = await client.service(service)
    fresh = sleepers("rolling", replicas, seconds=200_000)
    began = trio.current_time()
    await client.update_service(found.id, found.version.index, fresh)
    await until(client, service, lambda tasks: sum(_is_fresh(task) for task in running(tasks)) == replicas)
    all_new = trio.current_time() - began
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            status = (await client.service(service)).update_status
            if status is not None and status.state == "completed":
                break
            await trio.sleep(LOOK_SECONDS)
    completed = trio.current_time() - began
    await client.remove_service(service)
    await _until_gone(client)
    return all_new, completed


def _is_fresh(task: TaskJson) -> bool:
    container = task.spec.container_spec
    return container is not None and container.command == ["sleep", "200000"]


async def measure_replacement(client: EngineClient) -> float:
    """Kill a task's process; until the next one runs, without the restart delay."""
    service = await client.create_service(sleepers("killed", 5))
    await until(client, service, lambda tasks: len(running(tasks)) == 5)
    [victim, *_] = running(await client.tasks({"service": [service]}))
    assert victim.status.container_status is not None
    known = {task.id for task in await client.tasks({"service": [service]})}
    began = trio.current_time()
    os.killpg(victim.status.container_status.pid, signal.SIGKILL)
    await until(client, service, lambda tasks: any(task.id not in known for task in running(tasks)))
    took = trio.current_time() - began - RESTART_DELAY_SECONDS
    await client.remove_service(service)
    await _until_gone(client)
    return took


async def _until_gone(client: EngineClient) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while await client.tasks():  # noqa: ASYNC110 - a client can only ask
            await trio.sleep(LOOK_SECONDS)


async def measure(swarm: LocalSwarm, replicas: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Everything, so many times, in seconds."""
    found: dict[str, list[float]] = {}
    async with EngineClient(swarm.nodes[0].docker_host) as client:
        for number in range(rounds):
            for count in replicas:
                found.setdefault(f"up to {count}", []).append(await measure_up(client, count))
            if max(replicas) > 10:
                found.setdefault(f"{max(replicas)} down to 10", []).append(
                    await measure_down(client, max(replicas), 10)
                )
            all_new, completed = await measure_update(client, 20)
            found.setdefault("update of 20 by 5: all new ones run", []).append(all_new)
            found.setdefault("update of 20 by 5: completed", []).append(completed)
            found.setdefault("a killed task replaced, beyond its restart delay", []).append(
                await measure_replacement(client)
            )
            print(f"round {number + 1} of {rounds}", flush=True)
    return found


def show(found: dict[str, list[float]]) -> str:
    """Return the table."""
    rows = []
    for what, times in found.items():
        docker = DOCKER.get(what)
        median = statistics.median(times)
        rows.append(
            [
                what,
                f"{median:.2f}",
                f"{max(times):.2f}",
                figure(docker),
                f"{docker / median:.1f}x" if docker else "-",
            ]
        )
    return render(("what", "s, median", "worst", "Docker Swarm 20.10, s", "faster"), rows)


async def main(replicas: Sequence[int], rounds: int) -> dict[str, list[float]]:
    swarm = LocalSwarm.create(
        Path(tempfile.mkdtemp(prefix="raftswarm-replicas-")), managers=3, workers=2, name_prefix="docker"
    )
    before = load_average()
    try:
        await swarm.start(*swarm.nodes)
        await swarm.form()
        found = await measure(swarm, replicas, rounds)
    finally:
        with trio.CancelScope(shield=True):
            await swarm.down()
    print(show(found))
    print(f"load before: {before:.2f}, after: {load_average():.2f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replicas", default="1,10,50,100", help="how many tasks, with commas")
    parser.add_argument("--json", type=Path, help="keep all figures there")
    arguments = parser.parse_args()
    with one_at_a_time():
        measured = trio.run(main, [int(count) for count in arguments.replicas.split(",")], arguments.rounds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": describe_machine(), "seconds": measured}, indent=1))
