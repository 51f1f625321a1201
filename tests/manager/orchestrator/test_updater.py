"""Rolling updates (SWARM 4.9), with the texts a real engine was recorded with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from raftswarm.objects.records import UpdateStatus
from raftswarm.objects.specs import UpdateConfig
from raftswarm.objects.states import TaskState, UpdateState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene

SECOND = 1_000_000_000


def fill(scene: Scene, replicas: int) -> None:
    scene.replicas(replicas)
    for slot in range(1, replicas + 1):
        scene.add(slot=slot, node=f"n{slot}")


def user_rolls_back(scene: Scene) -> None:
    service = scene.service
    assert service.previous_spec is not None
    scene.put(
        replace(
            service,
            spec=service.previous_spec,
            spec_version=service.previous_spec_version,
            previous_spec=service.spec,
            previous_spec_version=service.spec_version,
            update_status=UpdateStatus(state=UpdateState.ROLLBACK_STARTED, started_at=scene.now),
        )
    )


def turn(scene: Scene, *, new_tasks: TaskState = TaskState.RUNNING) -> list[int]:
    """Plan, let agents obey and new tasks come as far as said; return the slots that were begun."""
    before = {task.id for task in scene.tasks()}
    scene.plan()
    scene.stop_all()
    scene.plan()
    begun = [task for task in scene.tasks() if task.id not in before]
    for task in begun:
        scene.report(task.id, new_tasks)
    return sorted(task.slot for task in begun)


def images(scene: Scene) -> list[str]:
    return [scene.image_of(task) for task in sorted(scene.wanted(), key=lambda task: task.slot)]


def test_nothing_is_updated_while_nothing_is_dirty(scene: Scene) -> None:
    fill(scene, 2)

    assert scene.plan().actions == ()
    assert scene.update_state is None


def test_slots_are_updated_one_by_one_by_default(scene: Scene) -> None:
    fill(scene, 3)
    scene.user_sets_image("v2")

    assert turn(scene) == [1]
    assert (scene.update_state, scene.update_status.message) == (UpdateState.UPDATING, "update in progress")
    assert turn(scene) == [2]
    assert turn(scene) == [3]
    assert images(scene) == ["v2", "v2", "v2"]


def test_as_many_slots_change_together_as_the_user_allows(scene: Scene) -> None:
    fill(scene, 3)
    scene.update_config(parallelism=2)
    scene.user_sets_image("v2")

    assert turn(scene) == [1, 2]


def test_a_slot_is_waited_for_until_its_new_task_runs(scene: Scene) -> None:
    fill(scene, 2)
    scene.user_sets_image("v2")

    assert turn(scene, new_tasks=TaskState.PREPARING) == [1]
    scene.wait(3600)
    assert turn(scene) == []


def test_what_an_earlier_update_to_the_same_spec_left_behind_settles_no_slot(scene: Scene) -> None:
    """Forth, back before it was done, and forth again: the tasks of the first try have ended, and prove nothing."""
    fill(scene, 2)
    scene.update_config(parallelism=2, order="start-first")
    scene.user_sets_image("v2")
    scene.plan()
    scene.user_sets_image("v1")
    turn(scene)
    scene.update_config(parallelism=1)
    scene.user_sets_image("v2")

    assert turn(scene, new_tasks=TaskState.PREPARING) == [1]
    assert turn(scene) == []


def test_what_an_update_left_that_was_rolled_back_settles_no_slot_when_it_is_rolled_forward(scene: Scene) -> None:
    """A rollback of the rollback has the same spec, and the same version of it, as the first update."""
    fill(scene, 2)
    scene.update_config(parallelism=2, order="start-first")
    scene.user_sets_image("v2")
    scene.plan()
    user_rolls_back(scene)
    turn(scene)
    scene.wait(1)
    user_rolls_back(scene)

    assert turn(scene, new_tasks=TaskState.PREPARING) == [1]
    assert turn(scene) == []


def test_between_two_slots_the_delay_is_kept(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=1, delay=10 * SECOND)
    scene.user_sets_image("v2")

    assert turn(scene) == [1]
    assert scene.plan().wake_at == scene.now + 10 * SECOND
    scene.wait(9)
    assert turn(scene) == []
    scene.wait(1)
    assert turn(scene) == [2]


def test_stop_first_starts_the_new_task_when_the_old_one_has_stopped(scene: Scene) -> None:
    fill(scene, 1)
    scene.user_sets_image("v2")

    scene.plan()
    scene.plan()
    old, new = scene.tasks()
    assert (old.desired_state, new.desired_state) == (TaskState.SHUTDOWN, TaskState.READY)
    scene.report(old.id, TaskState.SHUTDOWN)
    scene.plan()

    assert scene.newest().desired_state is TaskState.RUNNING


def test_start_first_stops_the_old_task_when_the_new_one_runs(scene: Scene) -> None:
    fill(scene, 1)
    scene.update_config(order="start-first")
    scene.user_sets_image("v2")

    scene.plan()
    scene.plan()
    old, new = scene.tasks()
    assert (old.desired_state, new.desired_state) == (TaskState.RUNNING, TaskState.RUNNING)
    scene.report(new.id, TaskState.STARTING)
    assert scene.plan().actions == ()
    scene.report(new.id, TaskState.RUNNING)
    scene.plan()

    assert scene.task(old.id).desired_state is TaskState.SHUTDOWN


def test_start_first_keeps_the_old_task_when_the_new_one_fails(scene: Scene) -> None:
    fill(scene, 1)
    scene.update_config(order="start-first", failure_action="continue")
    scene.user_sets_image("v2")
    scene.plan()
    scene.report(scene.newest().id, TaskState.FAILED)

    scene.plan()

    old, failed, another = scene.tasks()
    assert old.desired_state is TaskState.RUNNING
    assert failed.desired_state is TaskState.SHUTDOWN
    assert another.desired_state is TaskState.READY


def test_an_update_is_not_completed_while_it_keeps_an_old_task(scene: Scene) -> None:
    fill(scene, 1)
    scene.update_config(order="start-first", failure_action="continue")
    scene.user_sets_image("v2")
    scene.plan()
    scene.report(scene.newest().id, TaskState.FAILED)
    scene.plan()
    scene.wait(60)

    scene.plan()
    assert not scene.update_status.completed_at
    scene.report(scene.newest().id, TaskState.RUNNING)
    scene.plan()
    scene.wait(60)
    scene.plan()

    assert scene.update_status.state is UpdateState.COMPLETED
    assert images(scene) == ["v2"]


def test_start_first_keeps_one_old_task_and_not_two(scene: Scene) -> None:
    fill(scene, 1)
    scene.update_config(order="start-first")
    scene.user_sets_image("v2")
    scene.plan()
    scene.report(scene.newest().id, TaskState.RUNNING)
    scene.user_sets_image("v3")

    scene.plan()

    assert images(scene) == ["v1", "v3"]


def test_an_update_is_completed_when_its_last_slot_was_watched_long_enough(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=2, monitor=8 * SECOND)
    scene.user_sets_image("v2")
    turn(scene)
    started = scene.update_status.started_at

    assert scene.plan().wake_at == scene.now + 8 * SECOND
    assert scene.update_state is UpdateState.UPDATING
    scene.wait(8)
    scene.plan()

    assert (scene.update_state, scene.update_status.message) == (UpdateState.COMPLETED, "update completed")
    assert (scene.update_status.started_at, scene.update_status.completed_at) == (started, scene.now)
    assert scene.plan().actions == ()


@pytest.mark.parametrize("ending", [TaskState.FAILED, TaskState.REJECTED, TaskState.COMPLETE])
def test_a_new_task_that_ends_early_pauses_the_update(scene: Scene, ending: TaskState) -> None:
    fill(scene, 2)
    scene.user_sets_image("v2")
    turn(scene)
    failed = scene.newest(slot=1).id
    scene.wait(4)
    scene.report(failed, ending)

    scene.plan()

    assert scene.update_state is UpdateState.PAUSED
    assert scene.update_status.message == f"update paused due to failure or early termination of task {failed}"
    scene.wait(60)
    assert turn(scene) != [2]
    assert images(scene)[1] == "v1"


def test_a_task_that_has_run_longer_than_the_monitor_time_is_no_failure_of_the_update(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=1, delay=60 * SECOND, monitor=5 * SECOND)
    scene.user_sets_image("v2")
    turn(scene)
    scene.plan()
    scene.wait(6)
    scene.report(scene.newest(slot=1).id, TaskState.FAILED)

    scene.plan()

    assert scene.update_state is UpdateState.UPDATING


def test_a_task_that_was_told_to_stop_is_no_failure_of_the_update(scene: Scene) -> None:
    fill(scene, 2)
    scene.user_sets_image("v2")
    turn(scene)
    scene.node("n1", availability="drain")
    scene.plan()
    scene.stop_all()

    scene.plan()

    assert scene.update_state is UpdateState.UPDATING


def test_as_many_slots_may_fail_as_the_ratio_says(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=1, max_failure_ratio=0.5)
    scene.user_sets_image("v2")

    turn(scene, new_tasks=TaskState.FAILED)
    scene.plan()
    one_failed = scene.update_state
    scene.report(scene.newest(slot=2).id, TaskState.FAILED)
    scene.plan()

    assert (one_failed, scene.update_state) == (UpdateState.UPDATING, UpdateState.PAUSED)


def test_failures_do_not_matter_if_the_user_says_so(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=1, failure_action="continue")
    scene.user_sets_image("v2")

    assert turn(scene, new_tasks=TaskState.FAILED) == [1]
    assert 2 in turn(scene, new_tasks=TaskState.FAILED)
    assert scene.update_state is UpdateState.UPDATING


def test_a_failed_update_is_rolled_back_once(scene: Scene) -> None:
    fill(scene, 2)
    scene.update_config(parallelism=1, failure_action="rollback")
    before = scene.service
    scene.user_sets_image("v2")
    turn(scene, new_tasks=TaskState.FAILED)
    failed = scene.newest(slot=1).id

    scene.plan()

    assert scene.update_state is UpdateState.ROLLBACK_STARTED
    assert scene.update_status.message == f"update rolled back due to failure or early termination of task {failed}"
    assert (scene.service.spec, scene.service.spec_version) == (before.spec, before.spec_version)
    assert scene.service.previous_spec is None

    turn(scene)
    assert images(scene) == ["v1", "v1"]
    scene.plan()
    scene.wait(5)
    scene.plan()
    assert (scene.update_state, scene.update_status.message) == (UpdateState.ROLLBACK_COMPLETED, "rollback completed")


@pytest.mark.parametrize(("action", "what"), [("pause", "update"), ("rollback", "rollback")])
def test_a_rollback_that_fails_is_paused(scene: Scene, action: str, what: str) -> None:
    fill(scene, 1)
    scene.update_config(failure_action="rollback", rollback=UpdateConfig(parallelism=1, failure_action=action))
    scene.user_sets_image("v2")
    turn(scene, new_tasks=TaskState.FAILED)
    turn(scene, new_tasks=TaskState.FAILED)
    failed = scene.newest().id

    scene.plan()

    assert scene.update_state is UpdateState.ROLLBACK_PAUSED
    assert scene.update_status.message == f"{what} paused due to failure or early termination of task {failed}"


def test_without_a_previous_spec_a_failed_update_is_paused(scene: Scene) -> None:
    fill(scene, 1)
    scene.update_config(failure_action="rollback")
    scene.user_sets_image("v2")
    scene.put(replace(scene.service, previous_spec=None))
    turn(scene, new_tasks=TaskState.FAILED)

    scene.plan()

    assert scene.update_state is UpdateState.PAUSED
    assert scene.update_status.message.endswith("cannot roll back service because no previous spec is available")


def test_a_paused_update_stays_so_until_the_user_writes_a_spec(scene: Scene) -> None:
    fill(scene, 1)
    scene.user_sets_image("v2")
    turn(scene, new_tasks=TaskState.FAILED)
    scene.plan()

    scene.user_sets_image("v3")

    assert turn(scene) == [1]
    assert scene.update_state is UpdateState.UPDATING


def test_a_new_leader_goes_on_where_the_old_one_stopped(scene: Scene) -> None:
    fill(scene, 3)
    scene.update_config(parallelism=1, delay=10 * SECOND)
    scene.user_sets_image("v2")
    turn(scene)
    scene.plan()
    scene.wait(4)
    scene.change_leader()

    assert scene.plan().wake_at == scene.now + 6 * SECOND
    assert turn(scene) == []
    scene.wait(6)
    assert turn(scene) == [2]


def test_a_slot_whose_task_ended_for_good_is_updated_too(scene: Scene) -> None:
    scene.restart(condition="none")
    scene.add(state=TaskState.COMPLETE, desired=TaskState.SHUTDOWN)
    scene.user_sets_image("v2")

    scene.plan()

    assert [(scene.image_of(task), task.desired_state) for task in scene.wanted()] == [("v2", TaskState.RUNNING)]


def test_slots_that_do_not_run_are_updated_first(scene: Scene) -> None:
    fill(scene, 2)
    scene.report(scene.newest(slot=1).id, TaskState.RUNNING)
    scene.replicas(3)
    scene.add(slot=3, state=TaskState.PREPARING)
    scene.user_sets_image("v2")

    assert turn(scene) == [3]


def test_of_two_tasks_in_a_slot_one_is_left(scene: Scene) -> None:
    scene.add(state=TaskState.PREPARING)
    runs = scene.add(node="n2")

    scene.plan()

    assert [task.id for task in scene.wanted()] == [runs]
    assert scene.update_state is None
