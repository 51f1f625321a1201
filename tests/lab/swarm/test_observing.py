"""Whoever observes hears of every change once, in order, and may end the run; managers that differ are found out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from raftswarm.agent.executors.process import ProcessController
from raftswarm.errors import Rejected
from raftswarm.lab import Violation
from raftswarm.lab.swarm import Lab, simulate
from raftswarm.lab.swarm.scheduling import Scheduler, run_seeded
from raftswarm.lab.swarm.world import SwarmWorld
from raftswarm.lab.trace import Trace
from raftswarm.manager.scheduler import loop
from raftswarm.objects.records import Service, Task
from raftswarm.raft.state_machine import Context
from raftswarm.store.store import Change, Reader, Store


async def run_a_service(lab: Lab) -> None:
    service = await lab.create_service("web", replicas=3)
    await lab.converged(service)
    leader = await lab.wait_leader()
    await leader.crash()
    await lab.scale(service, 5)
    await lab.heal()
    await lab.at_rest()


def test_every_change_is_told_once_with_the_tables_behind_it() -> None:
    told: list[int] = []
    tasks: dict[str, Task] = {}

    def observe(node: str, index: int, changes: Sequence[Change], tables: Reader) -> None:
        assert node.startswith("manager")
        told.append(index)
        for change in changes:
            assert change.command_number == index
            if isinstance(change.object, Task):
                assert tables.get(Task, change.object.id) == change.after
                assert tasks.get(change.object.id) == change.before
                tasks[change.object.id] = change.object

    simulate(run_a_service, seed=1, observers=[observe])

    assert len(told) > 20
    assert told == sorted({*told})
    assert len(tasks) >= 5


def test_an_observer_that_finds_something_ends_the_run() -> None:
    def observe(node: str, index: int, changes: Sequence[Change], tables: Reader) -> None:
        if any(isinstance(change.after, Service) for change in changes):
            raise Violation(f"there is a service, by command {index} on {node}")

    with pytest.raises(Violation, match="there is a service, by command"):
        simulate(run_a_service, seed=1, observers=[observe])


def test_managers_that_apply_different_commands_under_one_number_are_found_out() -> None:
    async def main(scheduler: Scheduler) -> BaseException | None:
        async with trio.open_nursery() as nursery:
            world = SwarmWorld(1, scheduler, nursery, Trace(enabled=True))
            for node, command in (("manager-1", b"one"), ("manager-2", b"one"), ("manager-3", b"other")):
                world.applied(node, Store(), Context(index=5, term=1, command_number=7, time_ns=0), command, ())
            return world.failure
        raise AssertionError("not reached")

    assert "manager-3 applied another command as number 7" in str(run_seeded(main, 1))


def test_a_manager_whose_tables_differ_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: one member refuses a transaction that all others carry out."""
    original = Store.apply
    seen: list[Store] = []
    refused: list[int] = []

    def apply(self: Store, command: bytes, context: Context) -> int:
        if self not in seen:
            seen.append(self)
        if len(seen) == 3 and self is seen[2] and context.command_number > 10 and not refused:
            refused.append(context.command_number)
            raise Rejected("planted")
        return original(self, command, context)

    monkeypatch.setattr(Store, "apply", apply)

    async def scenario(lab: Lab) -> None:
        service = await lab.create_service("web", replicas=3)
        await lab.converged(service)
        await lab.scale(service, 9)
        await lab.at_rest(within=60)

    with pytest.raises(Violation, match="tables"):
        simulate(scenario, seed=1)

    assert refused


def test_a_bug_that_is_only_logged_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a control loop that raises is begun anew in production, and must not pass here."""

    async def run(self: loop.Scheduler) -> None:
        await trio.sleep(1)
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(loop.Scheduler, "run", run)

    with pytest.raises(ZeroDivisionError, match="planted"):
        simulate(run_a_service, seed=1)


def test_a_task_that_is_started_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the agent does not look for what an earlier life has started."""

    async def find(self: ProcessController) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(ProcessController, "_find", find)

    async def scenario(lab: Lab) -> None:
        worker = lab["worker-1"]
        await lab.create_service("web", replicas=6)
        while not worker.running_tasks:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.001)  # Then its process runs, and the agent has yet to hear of it.
        await worker.crash()
        await worker.start()
        await lab.at_rest(within=60)

    with pytest.raises(Violation, match="was started 2 times"):
        simulate(scenario, seed=1)


def test_a_process_that_nobody_knows_of_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the agent reports that tasks have stopped, and does not stop them."""

    async def do_nothing(self: ProcessController) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(ProcessController, "stop", do_nothing)
    monkeypatch.setattr(ProcessController, "remove", do_nothing)

    async def scenario(lab: Lab) -> None:
        service = await lab.create_service("web", replicas=4)
        await lab.converged(service)
        await lab.remove_service(service)
        await lab.at_rest(within=60)

    with pytest.raises(Violation, match=r"40 .* has processes of tasks"):
        simulate(scenario, seed=1)
