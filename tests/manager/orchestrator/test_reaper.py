"""The task reaper (SWARM 4.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from raftswarm.manager.orchestrator.reaper import Reaper, plan_reaping
from raftswarm.objects.records import UpdateStatus
from raftswarm.objects.states import TaskState, UpdateState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene

NODES = ("n1", "n2", "n3")


def reaped(scene: Scene, limit: int = 5, *, nodes: tuple[str, ...] = NODES) -> list[str]:
    actions = plan_reaping(scene.tasks(slot=1), scene.service, node_ids=nodes, history_limit=limit)
    return [action.task_id for action in actions]


def fail(scene: Scene, times: int) -> list[str]:
    return [scene.add(state=TaskState.FAILED, desired=TaskState.SHUTDOWN) for _ in range(times)]


def test_the_oldest_tasks_beyond_the_limit_are_forgotten(scene: Scene) -> None:
    ended = fail(scene, 6)
    scene.add()

    assert reaped(scene, 5) == ended[:2]
    assert reaped(scene, 7) == []


def test_with_a_limit_of_zero_only_what_lives_is_kept(scene: Scene) -> None:
    ended = fail(scene, 2)
    scene.add()
    scene.add()

    assert reaped(scene, 0) == ended


def test_a_negative_limit_keeps_everything(scene: Scene) -> None:
    fail(scene, 9)

    assert reaped(scene, -1) == []


def test_as_many_records_are_kept_as_attempts_are_counted(scene: Scene) -> None:
    scene.restart(max_attempts=7)
    ended = fail(scene, 9)

    assert reaped(scene, 5) == ended[:1]


@pytest.mark.parametrize("state", [TaskState.NEW, TaskState.PENDING])
def test_a_task_that_never_had_a_node_and_is_not_wanted_has_ended(scene: Scene, state: TaskState) -> None:
    never_placed = scene.add(state=state, node="", desired=TaskState.SHUTDOWN)
    scene.add()

    assert reaped(scene, 1) == [never_placed]


def test_a_waiting_replacement_keeps_the_record_that_its_delay_comes_from(scene: Scene) -> None:
    fail(scene, 1)
    scene.add(state=TaskState.NEW, desired=TaskState.READY)

    assert reaped(scene, 0) == []


def test_an_update_keeps_the_record_that_tells_that_a_slot_is_begun(scene: Scene) -> None:
    fail(scene, 1)
    scene.user_sets_image("v2")
    scene.add(state=TaskState.FAILED, desired=TaskState.SHUTDOWN)
    scene.add()
    scene.put(replace(scene.service, update_status=UpdateStatus(state=UpdateState.UPDATING)))

    assert reaped(scene, 0) == []


def test_an_update_keeps_the_records_it_goes_by(scene: Scene) -> None:
    fail(scene, 1)
    scene.add()
    scene.put(replace(scene.service, update_status=UpdateStatus(state=UpdateState.UPDATING)))

    assert reaped(scene, 0) == []


@pytest.mark.parametrize(
    ("state", "node", "goes"),
    [
        (TaskState.RUNNING, "n1", False),
        (TaskState.ASSIGNED, "n1", False),
        (TaskState.SHUTDOWN, "n1", True),
        (TaskState.PENDING, "n1", True),
        (TaskState.NEW, "", True),
        (TaskState.RUNNING, "gone", True),
    ],
)
def test_a_task_to_be_removed_goes_when_it_has_stopped_or_never_could_say_so(
    scene: Scene, state: TaskState, node: str, goes: bool
) -> None:
    task = scene.add(state=state, node=node, desired=TaskState.REMOVE)

    assert reaped(scene) == ([task] if goes else [])


def test_an_orphan_without_a_service_goes(scene: Scene) -> None:
    orphan = scene.add(state=TaskState.ORPHANED, desired=TaskState.SHUTDOWN)

    assert reaped(scene) == []
    actions = plan_reaping(scene.tasks(), None, node_ids=NODES, history_limit=5)
    assert [action.task_id for action in actions] == [orphan]


async def test_the_reaper_acts_a_quarter_of_a_second_after_a_task_was_made(
    scene: Scene, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    nursery.start_soon(Reaper(scene.store, scene.writes).run)
    await trio.testing.wait_all_tasks_blocked()
    ended = fail(scene, 6)

    await trio.sleep(0.2)
    assert len(scene.tasks()) == 6
    await trio.sleep(0.1)

    assert [task.id for task in scene.tasks()] == ended[1:]
    nursery.cancel_scope.cancel()


async def test_removed_tasks_go_when_their_node_goes(
    scene: Scene, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scene.add(desired=TaskState.REMOVE)
    nursery.start_soon(Reaper(scene.store, scene.writes).run)
    await trio.sleep(1)
    assert len(scene.tasks()) == 1

    scene.delete_node("n1")
    await trio.sleep(1)

    assert scene.tasks() == []
    nursery.cancel_scope.cancel()
