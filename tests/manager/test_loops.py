"""What the control loops share."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from raftswarm.errors import Conflict, NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError
from raftswarm.manager.allocator.loop import Allocator
from raftswarm.manager.loops import SteadyClock, id_source, keep_serving
from raftswarm.manager.orchestrator.loop import Orchestrator
from raftswarm.manager.orchestrator.reaper import Reaper
from raftswarm.manager.scheduler.loop import Scheduler
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import EndpointSpec, PortConfig, Replicated, ServiceMode, ServiceSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.contracts import WatchOverflow
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites


class Wall:
    def __init__(self, now: int) -> None:
        self.now = now

    def now_ns(self) -> int:
        return self.now


class Bytes:
    def __init__(self) -> None:
        self._chance = random.Random(0)

    def token_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)


async def test_a_wall_clock_that_jumps_does_not_move_a_steady_one(autojump_clock: trio.testing.MockClock) -> None:
    wall = Wall(1_000_000_000)
    clock = SteadyClock.start(wall)

    wall.now = 0
    await trio.sleep(2.5)

    assert clock.now_ns() == 3_500_000_000
    assert clock.seconds_until(4_000_000_000) == 0.5
    assert clock.seconds_until(3_000_000_000) == 0


@pytest.mark.parametrize("lost", [Conflict, NotLeader, OutcomeUnknown, Overloaded, WatchOverflow])
async def test_a_loop_starts_over_when_a_write_or_a_change_got_lost(
    autojump_clock: trio.testing.MockClock, lost: type[RaftSwarmError]
) -> None:
    starts: list[float] = []

    async def serve() -> None:
        starts.append(trio.current_time())
        if len(starts) < 3:
            raise lost("gone")
        await trio.sleep_forever()

    with trio.move_on_after(10):
        await keep_serving(serve)

    assert starts == [0, 0.25, 0.5]


async def test_a_fault_of_our_own_is_not_hidden() -> None:
    async def serve() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await keep_serving(serve)


def test_ids_are_made_of_the_entropy_given() -> None:
    class Ones:
        def token_bytes(self, count: int) -> bytes:
            return b"\xff" * count

    new_id = id_source(Ones())

    assert len(new_id()) == 25
    assert new_id() == new_id()


async def test_together_the_loops_give_a_new_service_its_nodes_within_a_tenth_of_a_second(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    store = Store()
    log = LoneProposer(store)
    writes, wall, entropy = StoreWrites(store, log), Wall(1), Bytes()
    for loop in (
        Orchestrator(store, writes, wall, entropy),
        Allocator(store, writes, wall),
        Scheduler(store, writes, wall),
        Reaper(store, writes),
    ):
        nursery.start_soon(loop.run)
    await trio.testing.wait_all_tasks_blocked()
    transaction = store.begin()
    for number in range(3):
        transaction.create(Node(id=f"n{number}", state=NodeState.READY))
    ports = EndpointSpec(ports=[PortConfig(target_port=80, published_port=8080)])
    mode = ServiceMode(replicated=Replicated(replicas=3))
    transaction.create(Service(id="s", spec=ServiceSpec(name="web", mode=mode, endpoint_spec=ports)))
    log.apply(encode(transaction.change_set()))

    await trio.sleep(0.1)

    tasks = list(store.find(Task))
    assert sorted(task.node_id for task in tasks) == ["n0", "n1", "n2"]
    assert {task.status.state for task in tasks} == {TaskState.ASSIGNED}
    assert {task.endpoint.ports[0].published_port for task in tasks if task.endpoint is not None} == {8080}
    nursery.cancel_scope.cancel()
