"""Slots and what fills them (SWARM 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.objects.states import TaskState
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


def test_a_slot_is_filled_by_the_tasks_that_are_to_run(scene: Scene) -> None:
    scene.add(desired=TaskState.SHUTDOWN)
    runs = scene.add()
    waits = scene.add(desired=TaskState.READY)

    assert [task.id for task in scene.draft().updatable(1)] == [runs, waits]


def test_a_slot_is_free_when_its_last_task_would_be_restarted(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED, desired=TaskState.SHUTDOWN)

    assert scene.draft().updatable(1) == []


def test_a_task_that_ended_for_good_fills_its_slot(scene: Scene) -> None:
    scene.restart(condition="on-failure")
    scene.add(state=TaskState.FAILED, desired=TaskState.SHUTDOWN)
    completed = scene.add(state=TaskState.COMPLETE, desired=TaskState.SHUTDOWN)

    assert [task.id for task in scene.draft().updatable(1)] == [completed]


def test_a_plan_holds_what_was_changed_and_nothing_else(scene: Scene) -> None:
    old = scene.add(slot=1)
    scene.add(slot=2)
    draft = scene.draft()

    draft.retire(1, draft.slots[1])
    draft.add(1, TaskState.READY)

    (change,) = in_one_piece(draft.changes())
    assert change.raised == ((old, TaskState.SHUTDOWN),)
    assert [task.desired_state for task in change.created] == [TaskState.READY]


def test_a_task_that_was_only_planned_vanishes_when_it_is_retired(scene: Scene) -> None:
    draft = scene.draft()
    draft.add(1, TaskState.RUNNING)

    draft.retire(1, draft.slots[1])

    assert in_one_piece(draft.changes()) == []


def test_the_earliest_wake_up_counts(scene: Scene) -> None:
    draft = scene.draft()

    for moment in (30, 10, 20):
        draft.wake(moment)

    assert draft.wake_at == 10
