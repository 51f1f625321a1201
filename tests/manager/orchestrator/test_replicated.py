"""Scaling (SWARM 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.manager.orchestrator.draft import SlotKey
from raftswarm.manager.orchestrator.replicated import best_slots
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


def placed(node: str, state: TaskState = TaskState.RUNNING) -> list[Task]:
    return [Task(id=node, spec=TaskSpec(), node_id=node, status=TaskStatus(state=state))]


def test_new_tasks_take_the_lowest_free_slots(scene: Scene) -> None:
    scene.replicas(4)
    scene.add(slot=2)

    scene.plan()

    assert sorted(task.slot for task in scene.wanted()) == [1, 2, 3, 4]
    assert all(task.desired_state is TaskState.RUNNING for task in scene.wanted())


def test_scaling_to_zero_removes_every_task(scene: Scene) -> None:
    scene.add(slot=1)
    scene.add(slot=2)
    scene.replicas(0)

    scene.plan()

    assert {task.desired_state for task in scene.tasks()} == {TaskState.REMOVE}


def test_a_slot_that_is_removed_takes_its_history_along(scene: Scene) -> None:
    scene.add(slot=1)
    scene.add(slot=2, state=TaskState.FAILED, desired=TaskState.SHUTDOWN)
    scene.add(slot=2)

    scene.plan()

    assert [task.desired_state for task in scene.tasks(slot=2)] == [TaskState.REMOVE, TaskState.REMOVE]


def test_a_slot_that_is_being_removed_counts_no_more(scene: Scene) -> None:
    scene.restart(condition="none")
    scene.add(slot=1)
    scene.add(slot=2, desired=TaskState.REMOVE)

    assert scene.plan().actions == ()
    scene.replicas(2)
    scene.plan()

    assert [task.slot for task in scene.wanted()] == [1, 2]


def test_a_slot_that_is_filled_again_waits_until_its_last_task_has_stopped(scene: Scene) -> None:
    scene.add(slot=1)
    old = scene.add(slot=2, desired=TaskState.REMOVE)
    scene.replicas(2)

    scene.plan()
    assert scene.newest(slot=2).desired_state is TaskState.READY
    scene.report(old, TaskState.SHUTDOWN)
    scene.plan()

    assert scene.newest(slot=2).desired_state is TaskState.RUNNING


def test_a_service_that_says_nothing_has_one_replica(scene: Scene) -> None:
    scene._change(mode=type(scene.service.spec.mode)())

    scene.plan()

    assert len(scene.wanted()) == 1


def test_all_slots_are_kept_if_there_are_not_too_many() -> None:
    assert in_one_piece(best_slots({1: placed("a"), 2: placed("a")}, 2)) == [1, 2]


def test_slots_are_removed_where_a_service_has_most_tasks() -> None:
    filled: dict[SlotKey, list[Task]] = {1: placed("a"), 2: placed("a"), 3: placed("a"), 4: placed("b")}

    assert in_one_piece(best_slots(filled, 2)) == [1, 4]
    assert in_one_piece(best_slots(filled, 3)) == [1, 2, 4]


def test_running_slots_are_kept_before_others() -> None:
    filled: dict[SlotKey, list[Task]] = {1: placed("a", TaskState.PREPARING), 2: placed("b"), 3: placed("c")}

    assert in_one_piece(best_slots(filled, 2)) == [2, 3]


def test_low_numbers_are_kept_before_high_ones() -> None:
    filled: dict[SlotKey, list[Task]] = {number: placed(f"n{number}") for number in (3, 10, 2, 1)}

    assert in_one_piece(best_slots(filled, 2)) == [1, 2]


def test_slots_without_a_node_or_with_two_tasks_go_first() -> None:
    filled: dict[SlotKey, list[Task]] = {
        1: placed("", TaskState.PENDING),
        2: placed("a") + placed("b"),
        3: placed("a"),
        4: placed("a"),
    }

    assert in_one_piece(best_slots(filled, 2)) == [3, 4]
    assert in_one_piece(best_slots(filled, 3)) == [2, 3, 4]
