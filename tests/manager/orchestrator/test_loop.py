"""The orchestrator's loop: reacts to changes at once, and to time when it has to (SWARM 2.4)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from raftswarm.manager.orchestrator.loop import Orchestrator
from raftswarm.objects.records import Service
from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


class Wall:
    def now_ns(self) -> int:
        return 2_000_000_000_000


class Bytes:
    """Random ones, always the same."""

    def __init__(self) -> None:
        self._chance = random.Random(0)

    def token_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)


@pytest.fixture
async def serving(scene: Scene) -> AsyncIterator[None]:
    scene.now = Wall().now_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Orchestrator(scene.store, scene.writes, Wall(), Bytes()).run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def soon() -> None:
    """Until all is done that needs no waiting."""
    await trio.testing.wait_all_tasks_blocked()


async def test_what_is_there_at_the_start_is_planned(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    await soon()

    assert len(scene.tasks()) == 1


async def test_scaling_takes_effect_at_once(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    scene.replicas(450)  # More than one transaction can hold.

    await soon()

    assert len(scene.wanted()) == 450
    assert trio.current_time() == 0


async def test_a_failed_task_is_replaced_at_once_and_started_after_its_delay(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    await soon()
    (task,) = scene.tasks()
    scene.report(task.id, TaskState.FAILED)

    await soon()
    assert [task.desired_state for task in scene.tasks()] == [TaskState.SHUTDOWN, TaskState.READY]
    await trio.sleep(4.9)
    assert scene.newest().desired_state is TaskState.READY
    await trio.sleep(0.2)

    assert scene.newest().desired_state is TaskState.RUNNING


async def test_a_node_that_goes_down_loses_its_tasks(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    await soon()
    scene.report(scene.newest().id, TaskState.RUNNING)

    scene.node("n1", state=NodeState.DOWN)
    await soon()

    assert [task.desired_state for task in scene.tasks()] == [TaskState.SHUTDOWN, TaskState.READY]


async def test_a_new_node_gets_the_tasks_of_global_services(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    scene.node("n3", availability="drain")
    scene.be_global()
    await soon()
    assert {task.node_id for task in scene.wanted()} == {"n1", "n2"}

    scene.node("n3")
    await soon()

    assert {task.node_id for task in scene.wanted()} == {"n1", "n2", "n3"}


async def test_the_tasks_of_a_removed_service_are_removed(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    await soon()
    transaction = scene.store.begin()
    transaction.delete(Service, "web")
    scene.commit(transaction)

    await soon()

    assert [task.desired_state for task in scene.tasks()] == [TaskState.REMOVE]


async def test_a_removal_that_the_leader_before_did_not_finish_is_finished(
    scene: Scene, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scene.add()
    transaction = scene.store.begin()
    transaction.delete(Service, "web")
    scene.commit(transaction)

    nursery.start_soon(Orchestrator(scene.store, scene.writes, Wall(), Bytes()).run)
    await soon()

    assert [task.desired_state for task in scene.tasks()] == [TaskState.REMOVE]
    nursery.cancel_scope.cancel()


async def test_a_running_service_asks_for_no_writes(
    scene: Scene, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    await soon()
    scene.report(scene.newest().id, TaskState.RUNNING)
    await soon()
    written = len(scene.log.commands)

    await trio.sleep(3600)

    assert len(scene.log.commands) == written
