"""What befalls machines: killed ones do nothing more, paused ones do it later, tasks outlive their daemon."""

from __future__ import annotations

import pytest
import trio

from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError, RaftSwarmError
from raftswarm.lab import Violation
from raftswarm.lab.swarm import Lab, LabNode, scheduling, simulate
from raftswarm.objects.records import Node
from raftswarm.objects.states import NodeState
from raftswarm.store.store import Reader


async def expect_failure(node: LabNode) -> type[BaseException] | None:
    try:
        await node.ask(lambda machine: machine.unlock("no key"))
    except RaftSwarmError as error:
        return type(error)
    return None


def test_tasks_outlive_the_daemon_and_are_adopted_by_the_next() -> None:
    async def scenario(lab: Lab) -> None:
        service = await lab.create_service("web", replicas=4)
        await lab.converged(service)
        worker = lab["worker-1"]
        before = worker.running_tasks
        assert before

        await worker.crash()
        assert worker.running_tasks == before
        await trio.sleep(3)
        await worker.start()

        await lab.at_rest()
        assert worker.running_tasks == before

    simulate(scenario, seed=1)


def test_a_machine_without_power_loses_its_tasks_and_others_take_them() -> None:
    async def scenario(lab: Lab) -> None:
        service = await lab.create_service("web", replicas=5)
        await lab.converged(service)
        worker = lab["worker-1"]

        await worker.crash(power=True)
        assert not worker.running_tasks
        await lab.wait_until(lambda _: worker not in lab.nodes_of(service))
        await lab.converged(service)

        await worker.start()
        await lab.at_rest()

    simulate(scenario, seed=2)


class TurnCounter(trio.abc.Instrument):
    """Counts the turns of one daemon's tasks."""

    def __init__(self, node: LabNode) -> None:
        assert node._daemon is not None
        self.family = node._daemon.family
        self.turns = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.turns += task.context.get(scheduling._family) is self.family


def test_nothing_of_a_killed_daemon_runs_any_more() -> None:
    """Not even what stands under ``finally``: its disk stays as it was, and nobody hears from it."""

    async def scenario(lab: Lab) -> None:
        await lab.create_service("web", replicas=3)
        leader = await lab.wait_leader()
        counter = TurnCounter(leader)
        trio.lowlevel.add_instrument(counter)
        await trio.sleep(1)
        assert counter.turns > 20

        await leader.crash()
        counter.turns = 0
        image = leader.disk.copy().sizes("")
        await trio.sleep(30)

        assert counter.turns == 0
        assert leader.disk.copy().sizes("") == image
        trio.lowlevel.remove_instrument(counter)
        await leader.start()
        await lab.at_rest()

    simulate(scenario, seed=3)


def test_a_clean_stop_hands_leadership_over_first() -> None:
    async def scenario(lab: Lab) -> None:
        await lab.create_service("web")
        leader = await lab.wait_leader()

        began = lab.now
        await leader.stop()
        successor = await lab.wait_leader()

        assert successor is not leader
        assert lab.now - began < 1.0
        await leader.start()
        await lab.at_rest()

    simulate(scenario, seed=4)


def test_a_paused_worker_is_missed_and_comes_back() -> None:
    async def scenario(lab: Lab) -> None:
        service = await lab.create_service("web", replicas=4)
        await lab.converged(service)
        worker = lab["worker-2"]
        worker_id = worker.id

        def is_down(tables: Reader) -> bool:
            return any(node.id == worker_id and node.state is NodeState.DOWN for node in tables.find(Node))

        await worker.pause()
        await lab.wait_until(is_down, "the worker is missed", within=30)
        await lab.converged(service)
        await worker.resume()

        await lab.at_rest()

    simulate(scenario, seed=5)


def test_a_request_ends_with_the_daemon_that_it_was_made_to() -> None:
    async def scenario(lab: Lab) -> None:
        leader = await lab.wait_leader()
        for node in lab.managers:
            if node is not leader:
                await node.pause()
        outcome: list[BaseException] = []

        async def ask() -> None:
            try:
                await leader.ask(lambda machine: machine.leave(force=True))
                await lab.init(leader)
            except LinkClosed as error:
                outcome.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.001)
            await leader.crash()
        assert [type(error) for error in outcome] == [LinkClosed]
        assert await expect_failure(leader) is LinkClosed

    simulate(scenario, seed=6)


def test_links_refuse_where_nobody_listens_and_are_silent_where_there_is_no_power() -> None:
    async def scenario(lab: Lab) -> None:
        one, other = lab["manager-1"], lab["manager-2"]
        network = one.manager.links._network  # type: ignore[union-attr]

        await other.crash()
        with pytest.raises(ConnectionRefused):
            await network.connect(other.address)
        await other.start()
        await other.crash(power=True)
        began = lab.now
        with pytest.raises(LinkError, match="did not answer within 5 seconds"):
            await network.connect(other.address)
        assert lab.now - began == pytest.approx(5.0)

    simulate(scenario, seed=7)


def test_what_never_comes_to_rest_is_a_violation_that_says_what_is_missing() -> None:
    async def scenario(lab: Lab) -> None:
        await lab.create_service("web", replicas=2, image="crash")
        await lab.at_rest(within=20)

    with pytest.raises(Violation, match="service web"):
        simulate(scenario, seed=8)


def test_a_scenario_that_fails_says_when_and_by_which_seed() -> None:
    async def scenario(lab: Lab) -> None:
        await trio.sleep(10)
        raise Violation(f"on purpose, with {len(lab.nodes)} nodes")

    with pytest.raises(Violation, match="on purpose, with 5 nodes") as failure:
        simulate(scenario, seed=9)

    assert any("seed 9, at 1" in note for note in failure.value.__notes__)
