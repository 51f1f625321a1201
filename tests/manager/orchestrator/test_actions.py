"""Actions look again when they are written: what has changed since the plan is left to the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.manager.orchestrator.actions import ChangeSlot, DeleteTask, RemoveTask, ReportUpdate, RollBack
from raftswarm.objects.records import Task, UpdateStatus
from raftswarm.objects.states import TaskState, UpdateState
from raftswarm.objects.tasks import new_task

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene

PAUSED = UpdateStatus(state=UpdateState.PAUSED)


def test_a_slot_planned_for_an_older_spec_is_left_alone(scene: Scene) -> None:
    task = scene.add()
    created = new_task(scene.service, task_id="new", now=0, slot=1)
    action = ChangeSlot("web", scene.service.spec_version, ((task, TaskState.SHUTDOWN),), (created,))
    scene.user_sets_image("v2")

    scene.write(action)

    assert [task.desired_state for task in scene.tasks()] == [TaskState.RUNNING]


def test_a_desired_state_never_goes_down(scene: Scene) -> None:
    task = scene.add(desired=TaskState.REMOVE)

    scene.write(ChangeSlot("web", 0, ((task, TaskState.SHUTDOWN),)))

    assert scene.task(task).desired_state is TaskState.REMOVE


def test_a_task_that_is_gone_is_not_made_again(scene: Scene) -> None:
    scene.write(ChangeSlot("web", 0, (("gone", TaskState.SHUTDOWN),)))
    scene.write(RemoveTask("gone"))
    scene.write(DeleteTask("gone"))

    assert scene.tasks() == []


def test_what_the_agent_reported_meanwhile_stays(scene: Scene) -> None:
    task = scene.add(state=TaskState.RUNNING)
    action = ChangeSlot("web", 0, ((task, TaskState.SHUTDOWN),))
    scene.report(task, TaskState.FAILED)

    scene.write(action)

    written = scene.task(task)
    assert (written.desired_state, written.status.state) == (TaskState.SHUTDOWN, TaskState.FAILED)


def test_the_state_of_an_older_update_is_not_reported(scene: Scene) -> None:
    report = ReportUpdate("web", scene.service.spec_version, PAUSED)
    scene.user_sets_image("v2")

    scene.write(report)

    assert scene.update_state is None


def test_an_update_that_the_user_has_replaced_is_not_rolled_back(scene: Scene) -> None:
    scene.user_sets_image("v2")
    back = RollBack("web", scene.service.spec_version, PAUSED)
    scene.user_sets_image("v3")
    wanted = scene.service.spec

    scene.write(back)

    assert scene.service.spec == wanted


def test_a_task_is_forgotten(scene: Scene) -> None:
    task = scene.add()

    scene.write(DeleteTask(task))

    assert scene.store.get(Task, task) is None


def test_a_node_that_has_gone_meanwhile_gets_no_task(scene: Scene) -> None:
    scene.be_global()
    tasks = [new_task(scene.service, task_id=node, now=0, node_id=node) for node in ("n1", "n2")]
    scene.delete_node("n1")

    for task in tasks:
        scene.write(ChangeSlot("web", scene.service.spec_version, created=(task,)))

    assert [task.id for task in scene.tasks()] == ["n2"]


def test_a_task_that_was_given_a_node_meanwhile_is_waited_for(scene: Scene) -> None:
    old = scene.add(state=TaskState.PENDING, node="")
    created = new_task(scene.service, task_id="new", now=0, slot=1)
    scene.report(old, TaskState.ASSIGNED)

    scene.write(ChangeSlot("web", 0, ((old, TaskState.SHUTDOWN),), (created,)))

    assert scene.task("new").desired_state is TaskState.READY


def test_what_is_done_before_a_plan_is_written_is_not_done_again(scene: Scene) -> None:
    """Its node seemed to be lost, and has come back with the news that the task is complete."""
    scene.be_job(concurrent=1, total=1)
    scene.plan()
    task = scene.newest()
    created = new_task(scene.service, task_id="new", now=0, slot=1, desired_state=TaskState.READY)
    action = ChangeSlot("web", 0, ((task.id, TaskState.SHUTDOWN),), (created,))
    scene.report(task.id, TaskState.COMPLETE)

    scene.write(action)

    assert [(task.id, task.desired_state) for task in scene.tasks()] == [(task.id, TaskState.COMPLETE)]


def test_what_was_planned_for_an_earlier_run_is_not_made_in_a_later_one_of_the_same_spec(scene: Scene) -> None:
    scene.be_job(concurrent=1, total=1)
    created = new_task(scene.service, task_id="new", now=0, slot=1, desired_state=TaskState.COMPLETE)
    scene.user_rolls_back_twice()

    scene.write(ChangeSlot("web", scene.service.spec_version, created=(created,)))

    assert scene.tasks() == []
