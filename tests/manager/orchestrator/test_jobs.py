"""Jobs: tasks that run to their end (SWARM 4.3, 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.manager.orchestrator.reaper import plan_reaping
from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


def finish(scene: Scene, *states: TaskState) -> None:
    """End the unfinished tasks, in the order of their slots, as given; the rest go on."""
    unfinished = [task for task in scene.wanted() if not task.status.state.is_terminal]
    for task, state in zip(sorted(unfinished, key=lambda task: task.slot), states, strict=False):
        scene.report(task.id, state)


def completed(scene: Scene) -> list[int]:
    return sorted(task.slot for task in scene.tasks() if task.status.state is TaskState.COMPLETE)


class TestReplicated:
    def test_so_many_run_at_once_until_so_many_are_complete(self, scene: Scene) -> None:
        scene.be_job(concurrent=2, total=3)

        scene.plan()
        assert [(task.slot, task.desired_state) for task in scene.tasks()] == [
            (1, TaskState.COMPLETE),
            (2, TaskState.COMPLETE),
        ]
        finish(scene, TaskState.COMPLETE)
        scene.plan()
        assert [task.slot for task in scene.tasks()] == [1, 2, 3]
        finish(scene, TaskState.COMPLETE, TaskState.COMPLETE)

        assert scene.plan().actions == ()
        assert completed(scene) == [1, 2, 3]

    def test_no_more_run_than_are_missing(self, scene: Scene) -> None:
        scene.be_job(concurrent=5, total=2)

        scene.plan()

        assert [task.slot for task in scene.tasks()] == [1, 2]

    @pytest.mark.parametrize(("concurrent", "total"), [(0, 3), (2, 0)])
    def test_a_job_of_nothing_does_nothing(self, scene: Scene, concurrent: int, total: int) -> None:
        scene.be_job(concurrent=concurrent, total=total)

        assert scene.plan().actions == ()

    def test_what_fails_is_tried_again_after_its_delay_and_counts_as_running_meanwhile(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=2)
        scene.plan()
        finish(scene, TaskState.FAILED)

        plan = scene.plan()

        assert scene.newest(1).desired_state is TaskState.READY
        assert scene.tasks(2) == []
        assert plan.wake_at is not None
        scene.wait(5)
        scene.plan()
        assert scene.newest(1).desired_state is TaskState.COMPLETE

    def test_what_is_complete_is_not_run_again_although_the_policy_says_any(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.restart(condition="any")
        scene.plan()
        finish(scene, TaskState.COMPLETE)

        assert scene.plan().actions == ()

    def test_what_may_not_be_tried_again_leaves_the_job_incomplete_instead_of_looping(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=2)
        scene.restart(condition="none")
        scene.plan()
        finish(scene, TaskState.FAILED)
        scene.plan()  # The failed slot is given up, the other one has its turn.
        finish(scene, TaskState.COMPLETE)

        assert scene.plan().actions == ()
        assert completed(scene) == [2]

    def test_attempts_are_counted_in_each_run(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.restart(condition="on-failure", max_attempts=1, delay=0)
        for _ in range(3):
            scene.plan()
            scene.plan()
            finish(scene, TaskState.FAILED)
        assert len(scene.tasks()) == 2

        scene.user_runs_again()
        scene.plan()

        assert scene.newest(1).job_iteration == 1

    def test_attempts_are_counted_in_each_run_also_when_the_spec_is_an_earlier_one_again(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.restart(condition="on-failure", max_attempts=1, delay=0)
        for _ in range(2):
            scene.plan()
            scene.plan()
            finish(scene, TaskState.FAILED)

        scene.user_rolls_back_twice()
        scene.plan()
        finish(scene, TaskState.FAILED)
        scene.plan()

        assert [task.job_iteration for task in scene.tasks()] == [0, 0, 2, 2]

    def test_a_slot_waits_for_what_the_run_before_has_there_however_late_its_turn_comes(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=2)
        scene.plan()
        finish(scene, TaskState.COMPLETE)
        scene.plan()
        finish(scene, TaskState.RUNNING)
        scene.user_runs_again()
        scene.plan()  # Slot 1 begins, and what runs in slot 2 is told to stop.
        finish(scene, TaskState.COMPLETE)
        scene.plan()

        assert scene.newest(2).desired_state is TaskState.READY
        scene.stop_all()
        scene.plan()
        assert scene.newest(2).desired_state is TaskState.COMPLETE

    def test_a_lost_node_is_a_failure(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.plan()
        scene.report(scene.newest().id, TaskState.RUNNING)
        scene.node("n1", state=NodeState.DOWN)

        scene.plan()

        assert [task.desired_state for task in scene.tasks(1)] == [TaskState.SHUTDOWN, TaskState.READY]

    def test_a_node_that_is_lost_later_does_not_undo_what_is_complete(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.plan()
        finish(scene, TaskState.COMPLETE)
        scene.node("n1", state=NodeState.DOWN)

        assert scene.plan().actions == ()

    def test_an_update_begins_anew_and_removes_what_the_run_before_has_not_finished(self, scene: Scene) -> None:
        scene.be_job(concurrent=2, total=2)
        scene.plan()
        finish(scene, TaskState.COMPLETE, TaskState.RUNNING)

        scene.user_runs_again()
        scene.plan()

        assert [(task.slot, task.job_iteration, task.desired_state) for task in scene.tasks()] == [
            (1, 0, TaskState.COMPLETE),
            (2, 0, TaskState.REMOVE),
            (1, 1, TaskState.COMPLETE),
            (2, 1, TaskState.READY),
        ]
        assert scene.plan().actions == ()

        scene.report(scene.tasks()[1].id, TaskState.SHUTDOWN)
        scene.plan()

        assert scene.newest(2).desired_state is TaskState.COMPLETE, "it waited until the run before had stopped"

    def test_what_failed_in_an_earlier_run_is_not_tried_again(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.plan()
        finish(scene, TaskState.FAILED)

        scene.user_runs_again()
        scene.plan()

        assert [(task.job_iteration, task.desired_state) for task in scene.tasks()] == [
            (0, TaskState.SHUTDOWN),
            (1, TaskState.COMPLETE),
        ]

    def test_a_slot_given_up_stays_given_up_behind_a_completion_of_an_earlier_run(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.restart(condition="none")
        scene.plan()
        finish(scene, TaskState.COMPLETE)
        scene.user_runs_again()
        scene.plan()
        scene.report(scene.newest(1).id, TaskState.FAILED)
        scene.plan()

        assert scene.plan().actions == ()
        assert len(scene.tasks()) == 2

    def test_a_completion_is_remembered_whatever_the_history_limit(self, scene: Scene) -> None:
        scene.be_job(concurrent=1, total=1)
        scene.plan()
        finish(scene, TaskState.COMPLETE)

        reaped = plan_reaping(scene.tasks(), scene.service, node_ids={"n1"}, history_limit=0)

        assert reaped == [], "it would be run again"
        scene.user_runs_again()
        scene.plan()
        reaped = plan_reaping(scene.tasks(), scene.service, node_ids={"n1"}, history_limit=0)
        assert [action.task_id for action in reaped] == [scene.tasks()[0].id], "the run before is history"

    def test_users_see_slots_from_0(self, scene: Scene) -> None:
        scene.be_job(concurrent=2, total=2)
        scene.plan()

        assert [task.shown_slot for task in scene.tasks()] == [0, 1]
        assert scene.tasks()[1].name == f"web.1.{scene.tasks()[1].id}"


class TestGlobal:
    def test_every_node_runs_it_once(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.plan()
        for task in scene.tasks():
            scene.report(task.id, TaskState.COMPLETE)

        assert [task.node_id for task in scene.tasks()] == ["n1", "n2", "n3"]
        assert scene.plan().actions == ()

    def test_a_node_that_comes_later_runs_it_too(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.node("n3", availability="drain")
        scene.plan()
        for task in scene.tasks():
            scene.report(task.id, TaskState.COMPLETE)

        scene.node("n3")
        scene.plan()

        assert [task.node_id for task in scene.wanted() if not task.status.state.is_terminal] == ["n3"]

    def test_a_drained_node_stops_it_and_runs_it_when_it_is_back(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.plan()
        scene.node("n1", availability="drain")

        scene.plan()
        stopped = [task for task in scene.tasks() if task.desired_state is TaskState.SHUTDOWN]
        assert [task.node_id for task in stopped] == ["n1"]
        scene.stop_all()
        scene.node("n1")
        scene.plan()

        assert sorted(task.node_id for task in scene.wanted()) == ["n1", "n2", "n3"]

    def test_a_node_that_is_back_before_the_task_has_stopped_waits_for_that(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.plan()
        for task in scene.tasks():
            scene.report(task.id, TaskState.RUNNING)
        scene.node("n1", availability="drain")
        scene.plan()

        scene.node("n1")
        scene.plan()

        assert [task.node_id for task in scene.tasks() if task.desired_state is TaskState.READY] == ["n1"]

    def test_what_fails_is_tried_again_on_its_node(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.plan()
        failed = scene.tasks()[1]
        scene.report(failed.id, TaskState.FAILED)

        scene.plan()

        assert [task.node_id for task in scene.tasks() if task.desired_state is TaskState.READY] == [failed.node_id]

    def test_constraints_choose_nodes(self, scene: Scene) -> None:
        scene.be_global_job()
        scene.label_node("n2", disk="ssd")
        scene.constrain("node.labels.disk==ssd")

        scene.plan()

        assert [task.node_id for task in scene.tasks()] == ["n2"]
