"""The restart supervisor (SWARM 4.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene

SECOND = 1_000_000_000


def test_a_task_that_failed_is_replaced_in_its_slot(scene: Scene) -> None:
    failed = scene.add(state=TaskState.FAILED)

    scene.plan()

    assert scene.task(failed).desired_state is TaskState.SHUTDOWN
    assert (scene.newest().slot, scene.newest().desired_state) == (1, TaskState.READY)


def test_the_replacement_starts_after_the_delay(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED)
    scene.plan()

    plan = scene.plan()
    assert plan.wake_at == scene.now + 5 * SECOND
    scene.wait(4.9)
    scene.plan()
    assert scene.newest().desired_state is TaskState.READY
    scene.wait(0.1)
    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_the_users_delay_counts(scene: Scene) -> None:
    scene.restart(delay=0)
    scene.add(state=TaskState.FAILED)

    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_a_task_that_may_not_restart_keeps_its_slot(scene: Scene) -> None:
    scene.restart(condition="none")
    ended = scene.add(state=TaskState.COMPLETE)

    scene.plan()

    assert scene.task(ended).desired_state is TaskState.SHUTDOWN
    assert scene.plan().actions == ()
    assert len(scene.tasks()) == 1


def test_a_drained_node_is_left_at_once_but_not_before_the_task_there_has_stopped(scene: Scene) -> None:
    old = scene.add(node="n1")
    scene.node("n1", availability="drain")

    scene.plan()
    scene.plan()
    assert scene.task(old).desired_state is TaskState.SHUTDOWN
    assert scene.newest().desired_state is TaskState.READY
    scene.report(old, TaskState.SHUTDOWN)
    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_a_task_on_a_node_that_is_down_is_not_waited_for(scene: Scene) -> None:
    scene.add(node="n1")
    scene.node("n1", state=NodeState.DOWN)

    scene.plan()
    scene.wait(5)
    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_a_task_on_a_node_that_was_removed_is_replaced(scene: Scene) -> None:
    scene.add(node="n1")
    scene.delete_node("n1")

    scene.plan()

    assert scene.newest().desired_state is TaskState.READY


@pytest.mark.parametrize("state", [NodeState.UNKNOWN, NodeState.DISCONNECTED])
def test_tasks_stay_on_nodes_that_are_out_of_touch(scene: Scene, state: NodeState) -> None:
    scene.add(node="n1")
    scene.node("n1", state=state)

    assert scene.plan().actions == ()


def test_tasks_stay_on_paused_nodes(scene: Scene) -> None:
    scene.add(node="n1")
    scene.node("n1", availability="pause")

    assert scene.plan().actions == ()


def test_a_task_that_does_not_stop_is_waited_for_a_minute(scene: Scene) -> None:
    scene.add(node="n1")
    scene.node("n1", availability="drain")
    scene.plan()
    scene.plan()

    scene.wait(59)
    scene.plan()
    assert scene.newest().desired_state is TaskState.READY
    scene.wait(1)
    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_a_replacement_that_fails_before_it_was_due_serves_its_delay_first(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED)
    scene.plan()
    scene.plan()
    scene.report(scene.newest().id, TaskState.REJECTED)

    scene.wait(4)
    assert scene.plan().actions == ()
    scene.wait(1)
    scene.plan()

    assert [task.status.state for task in scene.tasks()] == [TaskState.FAILED, TaskState.REJECTED, TaskState.NEW]


def test_a_new_leader_waits_for_what_is_left_of_a_delay(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED)
    scene.plan()
    scene.wait(3)
    scene.change_leader()

    assert scene.plan().wake_at == scene.newest().created_at + 5 * SECOND


def test_a_new_leader_whose_clock_is_behind_waits_no_longer_than_the_delay(scene: Scene) -> None:
    scene.add(state=TaskState.FAILED)
    scene.plan()
    scene.wait(-3600)
    scene.change_leader()

    assert scene.plan().wake_at == scene.now + 5 * SECOND
    scene.wait(5)
    scene.plan()
    assert scene.newest().desired_state is TaskState.RUNNING


def test_a_slot_that_lost_the_record_before_its_replacement_still_serves_the_delay(scene: Scene) -> None:
    scene.add(state=TaskState.NEW, node="", desired=TaskState.READY)

    plan = scene.plan()

    assert plan.wake_at == scene.now + 5 * SECOND


def test_a_crash_after_an_update_was_taken_back_serves_its_delay(scene: Scene) -> None:
    old = scene.add()
    scene.user_sets_image("v2")
    scene.add(desired=TaskState.SHUTDOWN, state=TaskState.SHUTDOWN)
    scene.user_sets_image("v1")
    scene.report(old, TaskState.FAILED)

    scene.plan()

    assert scene.newest().desired_state is TaskState.READY
    assert scene.plan().wake_at == scene.now + 5 * SECOND


def test_a_slot_that_was_drained_starts_its_next_task_without_delay_when_the_node_is_back(scene: Scene) -> None:
    old = scene.add(node="n1")
    scene.node("n1", availability="drain")
    scene.plan()
    scene.report(old, TaskState.SHUTDOWN)
    scene.node("n1")

    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING
