"""What survives SIGKILL: all five daemons at once, and leaders under writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from raftswarm.api.errors import ApiError
from raftswarm.api.swarm import InitJson
from raftswarm.client import EngineClient
from raftswarm.errors import LinkError
from raftswarm.local import LocalNode, LocalSwarm
from raftswarm.world.real_processes import running_recorded
from tests.daemons import LOCKED, daemon_log, leader_name, sleeping_service, until, until_ready, until_running

ROUNDS = 3


def processes(swarm: LocalSwarm) -> list[int]:
    """The tasks of all nodes, as the operating system knows them."""
    return sorted(pid for node in swarm.nodes for pid in running_recorded(str(Path(node.state_dir) / "tasks")))


async def test_five_killed_daemons_take_up_their_swarm_and_adopt_its_tasks(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3, workers=2)
    first = swarm.nodes[0]
    await swarm.start(*swarm.nodes)
    await swarm.begin(InitJson(spec=LOCKED))
    await swarm.join_others()
    async with EngineClient(first.docker_host) as client:
        key = await client.swarm_unlock_key()
        service = await client.create_service(sleeping_service("web", replicas=5))
    nodes = await until_ready(first, 5)
    tasks = sorted(task.id for task in await until_running(first, 5))
    pids = processes(swarm)

    for node in swarm.nodes:
        await swarm.kill(node)
    await swarm.start(*swarm.nodes)
    for node in swarm.nodes[:3]:
        async with EngineClient(node.docker_host) as client:
            assert (await client.info()).swarm.local_node_state == "locked"
            await client.swarm_unlock(key)

    assert await until_ready(first, 5) == nodes
    assert sorted(task.id for task in await until_running(first, 5)) == tasks
    assert processes(swarm) == pids
    async with EngineClient(first.docker_host) as client:
        assert [found.id for found in await client.services()] == [service]


async def test_a_killed_leader_takes_no_acknowledged_write_with_it(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3)
    await swarm.start(*swarm.nodes)
    await swarm.form()
    await until_ready(swarm.nodes[0], 3)
    acknowledged: list[str] = []

    async def write(number: int) -> None:
        """Create services through any manager that answers, one after another, as fast as it goes."""
        count = 0
        while True:
            node: LocalNode = swarm.nodes[count % len(swarm.nodes)]
            name = f"w{number}-{count}"
            count += 1
            try:
                async with EngineClient(node.docker_host) as client:
                    await client.create_service(sleeping_service(name, replicas=0))
            except (ApiError, LinkError):
                await trio.sleep(0.02)
            else:
                acknowledged.append(name)

    async def more_than(count: int) -> bool | None:
        await trio.lowlevel.checkpoint()
        return len(acknowledged) > count or None

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(write, number)
        for _ in range(ROUNDS):
            seen = len(acknowledged)
            await until(lambda seen=seen: more_than(seen + 5))  # type: ignore[misc]
            alive = next(node for node in swarm.nodes if node.pid is not None)
            leader = swarm.node(await leader_name(alive))
            await swarm.kill(leader)
            seen = len(acknowledged)
            await until(lambda seen=seen: more_than(seen + 5))  # type: ignore[misc]
            await swarm.start(leader)
        nursery.cancel_scope.cancel()

    await until_ready(swarm.nodes[0], 3)
    for node in swarm.nodes:
        async with EngineClient(node.docker_host) as client:
            names = {service.spec.name for service in await client.services()}
        assert set(acknowledged) <= names


async def test_a_leader_that_is_told_to_stop_hands_over_first(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3)
    await swarm.start(*swarm.nodes)
    await swarm.form()
    await until_ready(swarm.nodes[0], 3)
    leader = swarm.node(await leader_name(swarm.nodes[0]))
    others = [node for node in swarm.nodes if node is not leader]

    await swarm.stop(leader)

    # Nobody had to find out: another led before the daemon was gone.
    async with EngineClient(others[0].docker_host) as client:
        leaders = [node.hostname for node in await client.nodes() if node.manager_status and node.manager_status.leader]
    assert leaders in ([others[0].name], [others[1].name])
    log = daemon_log(leader)
    lines = [line for node in others for line in daemon_log(node).splitlines()]
    [gained] = [line for line in lines if " leads term " in line]
    assert log.splitlines()[-1].endswith("stopped")
    assert gained < log.splitlines()[-1], "both begin with the time"
    assert "Traceback" not in log
