"""A whole plan for a service (SWARM 4.1 to 4.9), and what the orchestrator may write (2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.manager.orchestrator.actions import ChangeSlot, RemoveTask
from raftswarm.manager.orchestrator.planner import plan_removal
from raftswarm.objects.states import TaskState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


def test_a_new_service_gets_tasks_that_are_new_and_wanted(scene: Scene) -> None:
    scene.replicas(3)

    scene.plan()

    assert {(task.status.state, task.status.message, task.node_id) for task in scene.tasks()} == {
        (TaskState.NEW, "created", "")
    }
    assert scene.plan().actions == ()


def test_desired_states_only_rise_and_observed_ones_are_left_alone(scene: Scene) -> None:
    scene.replicas(2)
    scene.add(slot=1, state=TaskState.FAILED)
    scene.add(slot=2)
    scene.add(slot=3, desired=TaskState.REMOVE)
    before = {task.id: task for task in scene.tasks()}
    scene.user_sets_image("v2")

    for _ in range(4):
        scene.plan()
        scene.wait(10)

    for task in scene.tasks():
        if task.id in before:
            assert task.desired_state >= before[task.id].desired_state
            assert (task.status, task.node_id, task.spec) == (
                before[task.id].status,
                before[task.id].node_id,
                before[task.id].spec,
            )
        else:
            assert task.status.state is TaskState.NEW


def test_a_slot_changes_in_one_action(scene: Scene) -> None:
    failed = scene.add(state=TaskState.FAILED)

    (action,) = scene.plan().actions

    assert isinstance(action, ChangeSlot)
    assert action.raised == ((failed, TaskState.SHUTDOWN),)
    assert [task.slot for task in action.created] == [1]


def test_a_failed_task_in_a_slot_that_is_not_needed_is_not_replaced(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED)
    scene.replicas(0)

    scene.plan()

    assert [task.desired_state for task in scene.tasks()] == [TaskState.REMOVE]


def test_the_tasks_of_a_service_that_is_gone_are_removed(scene: Scene) -> None:
    first = scene.add(slot=1)
    scene.add(slot=2, desired=TaskState.REMOVE)

    assert plan_removal(scene.tasks()) == (RemoveTask(first),)
