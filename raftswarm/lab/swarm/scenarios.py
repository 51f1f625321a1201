"""Named scenarios: what has to go well whatever the seed draws. Each ends healed, and at rest.

The seed draws timings, who is hit, and how a process dies; `docs/testing.md` says what each is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm.lab import Lab, plain_service
from raftswarm.lab.swarm.mix import play_random_mix
from raftswarm.lab.swarm.nodes import LabNode
from raftswarm.lab.swarm.running import Outcome, Scenario, try_scenario
from raftswarm.manager.control.requests import ListServices, ServicesAnswer
from raftswarm.objects.specs import ServiceSpec, UpdateConfig
from raftswarm.raft.settings import RaftSettings

MISSED_SECONDS: Final = 20.0
"""Three heartbeats that did not come, and a moment for the tasks."""

__all__ = ["SCENARIOS", "SwarmScenario", "run_scenario"]


@attrs.frozen(kw_only=True)
class SwarmScenario:
    """A scenario, and the swarm that it needs."""

    title: str
    play: Scenario
    managers: int = 3
    workers: int = 2
    raft: RaftSettings = RaftSettings()


def run_scenario(scenario: SwarmScenario, seed: int, *, keep_trace: bool = False) -> Outcome:
    """Run it by a seed; its failure is in the outcome."""
    return try_scenario(
        scenario.play,
        seed=seed,
        managers=scenario.managers,
        workers=scenario.workers,
        raft=scenario.raft,
        keep_trace=keep_trace,
    )


def _updatable(name: str, replicas: int, chance: Random) -> ServiceSpec:
    update = UpdateConfig(
        parallelism=chance.choice((1, 2, 3)),
        delay=chance.choice((0, 500_000_000)),
        monitor=1_000_000_000,
        failure_action="continue",
        order=chance.choice(("stop-first", "start-first")),
    )
    return replace(plain_service(name, replicas=replicas), update_config=update)


async def _finish(lab: Lab) -> None:
    await lab.heal()
    await lab.at_rest()


async def leader_crash(lab: Lab) -> None:
    """The leader dies in the middle of a rolling update, maybe with a worker; whoever is next goes on from there."""
    chance = lab.chance("crash")
    service = await lab.create_service(_updatable("web", 6, chance))
    await lab.converged(service)
    await lab.roll_out(service, "2")
    if chance.random() < 0.5:
        await chance.choice(lab.workers).crash(power=True)  # It stays away: the next leader has to find that out.
    for _ in range(chance.choice((1, 1, 2))):
        await trio.sleep(chance.uniform(0.0, 6.0))
        leader = await lab.wait_leader()
        await leader.crash(power=chance.random() < 0.3)
        await trio.sleep(chance.uniform(0.0, 5.0))
        await leader.start()
    await lab.converged(service)
    if any(
        task.spec.container_spec is None or task.spec.container_spec.env != ["VERSION=2"]
        for task in lab.tasks_of(service)
    ):
        raise Violation("the update is over, and not all tasks are of the new version")
    await _finish(lab)


async def partition(lab: Lab) -> None:
    """A manager is cut off together with the worker that talks to it; the rest goes on, and takes both back."""
    chance = lab.chance("partition")
    service = await lab.create_service("web", replicas=6)
    await lab.converged(service)
    alone = await lab.wait_leader() if chance.random() < 0.7 else chance.choice(lab.managers)
    worker = chance.choice(lab.workers)
    lab.partition([alone, worker])
    if chance.random() < 0.5:
        lab.cut(worker, alone)  # And then the two hear each other one way only.
    await trio.sleep(chance.uniform(0.0, 3.0))
    await lab.scale(service, chance.choice((3, 9)))
    await trio.sleep(chance.uniform(0.0, 60.0))
    await _finish(lab)


async def autolock(lab: Lab) -> None:
    """A manager of a locked swarm is restarted: it takes no part until somebody unlocks it, and then all of it."""
    chance = lab.chance("autolock")
    service = await lab.create_service("web", replicas=4)
    key = await lab.lock()
    await lab.converged(service)
    await trio.sleep(2.0)  # Until every manager has sealed its keys.
    manager = chance.choice(lab.managers)
    if chance.random() < 0.5:
        await manager.crash(power=chance.random() < 0.5)
        await trio.sleep(chance.uniform(0.0, 3.0))
        await manager.start()
    else:
        await manager.restart()
    await trio.sleep(chance.uniform(0.0, 10.0))
    if manager.id or manager.manager is not None:
        raise Violation(f"{manager.name} takes part in a locked swarm without its key")
    await lab.scale(service, 6)
    await manager.ask(lambda machine: machine.unlock(key))
    await _finish(lab)


async def worker_pause(lab: Lab) -> None:
    """A worker sleeps for longer than its heartbeats may be missed; its tasks are replaced, and it gives them up."""
    chance = lab.chance("pause")
    service = await lab.create_service("web", replicas=6)
    await lab.converged(service)
    worker = chance.choice(lab.workers)
    await worker.pause()
    seconds = chance.uniform(5.0, 60.0)
    await trio.sleep(seconds)
    if seconds > MISSED_SECONDS and worker in lab.nodes_of(service):
        raise Violation(f"{worker.name} has been silent for {seconds:.0f} s, and tasks are still left to it")
    if chance.random() < 0.5:
        await lab.scale(service, chance.choice((4, 8)))
    await worker.resume()
    await trio.sleep(chance.uniform(0.0, 5.0))
    await _finish(lab)


async def quorum_loss(lab: Lab) -> None:
    """Most managers are gone while a service is scaled up: what runs goes on, and what was asked for happens later."""
    chance = lab.chance("quorum")
    service = await lab.create_service("web", replicas=2)
    await lab.converged(service)
    gone = chance.sample(list(lab.managers), 2)

    async def lose_quorum() -> None:
        await trio.sleep(chance.uniform(0.0, 0.5))
        for manager in gone:
            await manager.crash(power=chance.random() < 0.3)
        before = {node.name: node.running_tasks for node in lab.workers}
        await trio.sleep(chance.uniform(1.0, 20.0))
        if any(not before[node.name] <= node.running_tasks for node in lab.workers):
            raise Violation("tasks of a worker ended because managers were gone")
        for manager in gone:
            await manager.start()
            await trio.sleep(chance.uniform(0.0, 2.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose_quorum)
        nursery.start_soon(lab.scale, service, 8)
    await _finish(lab)


async def disk_full(lab: Lab) -> None:
    """The leader's disk is full: another leads, the swarm goes on, and whoever gets room and a new start is back."""
    chance = lab.chance("disk")
    service = await lab.create_service("web", replicas=4)
    await lab.converged(service)
    leader = await lab.wait_leader()
    leader.fill_disk()
    await lab.scale(service, 6)
    await trio.sleep(chance.uniform(0.0, 20.0))
    others = [node for node in lab.managers if node is not leader]
    await lab.wait_until(lambda _: lab.leader in others, "another manager leads", within=30.0)
    await lab.scale(service, 3)
    leader.free_disk()
    if chance.random() < 0.5:
        await leader.crash()
    await _finish(lab)


async def lease_and_hint(lab: Lab) -> None:
    """A leader that may answer by its lease is killed, and its port refuses, which is a hint: still no read is old."""
    chance = lab.chance("lease")
    created: list[str] = []

    async def write() -> None:
        for number in range(chance.randint(4, 8)):
            name = f"service-{number}"
            await lab.create_service(name, replicas=0)
            created.append(name)
            await trio.sleep(chance.uniform(0.0, 0.5))

    async def read(until: float) -> None:
        while lab.now < until:
            known = list(created)
            answer = await lab.ask(ListServices())
            assert isinstance(answer, ServicesAnswer), "that is what answers"
            names = {view.service.spec.name for view in answer.services}
            if missing := [name for name in known if name not in names]:
                raise Violation(f"a read began after {missing[0]} was acknowledged, and does not show it")
            await trio.sleep(chance.uniform(0.0, 0.1))

    async def strike() -> None:
        for _ in range(2):
            await trio.sleep(chance.uniform(0.1, 1.5))
            leader = await lab.wait_leader()
            if chance.random() < 0.5:
                await _isolate(lab, leader, chance)
            else:
                await leader.crash()
                await trio.sleep(chance.uniform(0.0, 2.0))
                await leader.start()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(strike)
        for _ in range(3):
            nursery.start_soon(read, lab.now + 8.0)
    await _finish(lab)
    names = [view.service.spec.name for view in (await _list(lab)).services]
    if sorted(names) != sorted(created):
        raise Violation(f"acknowledged: {created}; there are {names}")


async def _isolate(lab: Lab, leader: LabNode, chance: Random) -> None:
    """It still believes that it leads, and users reach it; the others take it for stopped, or hear nothing."""
    others = [node for node in lab.managers if node is not leader]
    if chance.random() < 0.3:
        lab.partition([leader], others)
    else:
        for other in others:
            lab.refuse(leader, other)
    await trio.sleep(chance.uniform(0.0, 3.0))
    lab.mend()


async def _list(lab: Lab) -> ServicesAnswer:
    answer = await lab.ask(ListServices())
    assert isinstance(answer, ServicesAnswer), "that is what answers"
    return answer


async def random_mix(lab: Lab) -> None:
    """Users and operators at work, and faults of every kind, at random."""
    await play_random_mix(lab)
    await _finish(lab)


SCENARIOS: Final[Mapping[str, SwarmScenario]] = {
    "leader-crash": SwarmScenario(title="The leader crashes during a rolling update", play=leader_crash),
    "manager-and-worker": SwarmScenario(title="A manager is cut off with the worker that it talks to", play=partition),
    "autolock": SwarmScenario(title="A manager of a locked swarm is restarted", play=autolock),
    "worker-pause": SwarmScenario(
        title="A worker sleeps for longer than its heartbeats may be missed", play=worker_pause
    ),
    "quorum-loss": SwarmScenario(title="Most managers are gone while a service is scaled up", play=quorum_loss),
    "disk-full": SwarmScenario(title="The leader's disk is full", play=disk_full),
    "lease-and-hint": SwarmScenario(
        title="A leader with a lease is killed, which is a hint",
        play=lease_and_hint,
        workers=1,
        raft=RaftSettings(lease_reads=True),
    ),
    "random": SwarmScenario(title="Users, operators and faults of every kind", play=random_mix, managers=3, workers=3),
}
