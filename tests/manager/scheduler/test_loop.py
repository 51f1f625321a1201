"""The scheduler's loop (SWARM 5.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from raftswarm.manager.scheduler.loop import Scheduler
from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.scheduler.conftest import Yard


class Wall:
    def now_ns(self) -> int:
        return 7_000


@pytest.fixture
async def serving(yard: Yard) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Scheduler(yard.store, yard.writes, Wall()).run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_tasks_are_placed_a_twentieth_of_a_second_after_they_became_pending(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    yard.node("n1")
    task = yard.task()

    await trio.sleep(0.04)
    assert yard.stored(task).node_id == ""
    await trio.sleep(0.02)

    assert yard.stored(task).node_id == "n1"


async def test_other_writes_do_not_put_a_pass_off(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    yard.node("n1")
    running = yard.task(node="n1", state=TaskState.RUNNING)
    task = yard.task()

    for number in range(6):
        await trio.sleep(0.01)
        yard.put(replace(yard.stored(running), created_at=number))

    assert yard.stored(task).node_id == "n1"


async def test_more_tasks_put_a_pass_off_for_a_second_at_most(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    yard.node("n1")
    first = yard.task()

    for _ in range(24):
        await trio.sleep(0.04)
        yard.task()
    assert yard.stored(first).node_id == ""
    await trio.sleep(0.1)

    assert yard.stored(first).node_id == "n1"


async def test_a_task_without_a_place_gets_one_when_a_node_becomes_ready(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    node = yard.node("n1", state=NodeState.DOWN)
    task = yard.task()
    await trio.sleep(0.1)
    assert yard.stored(task).status.error == "no suitable node (1 node not available for new tasks)"

    yard.put(replace(node, state=NodeState.READY))
    await trio.sleep(0.1)

    assert (yard.stored(task).node_id, yard.stored(task).status.error) == ("n1", "")


async def test_a_task_without_a_place_gets_one_when_another_ends(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    yard.node("n1", cpus=1)
    first = yard.task(cpus=1)
    await trio.sleep(0.1)
    second = yard.task(cpus=1)
    await trio.sleep(0.1)
    assert yard.stored(second).node_id == ""

    yard.report(first, TaskState.COMPLETE)
    await trio.sleep(0.1)

    assert yard.stored(second).node_id == "n1"


async def test_tasks_that_fail_on_a_node_drive_the_next_ones_away(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    yard.node("n1")
    yard.node("n2")
    yard.tasks(3, node="n2", state=TaskState.RUNNING)
    for _ in range(5):
        failing = yard.task()
        await trio.sleep(0.1)
        assert yard.stored(failing).node_id == "n1"
        yard.report(failing, TaskState.FAILED)

    task = yard.task()
    await trio.sleep(0.1)

    assert yard.stored(task).node_id == "n2"


async def test_many_tasks_are_placed_in_one_pass(
    yard: Yard, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(3):
        yard.node(f"n{number}")
    tasks = yard.tasks(500)

    await trio.sleep(0.06)
    await trio.testing.wait_all_tasks_blocked()

    assert "" not in yard.nodes_of(tasks)
