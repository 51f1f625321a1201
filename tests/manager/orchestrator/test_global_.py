"""Global services (SWARM 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


@pytest.fixture(autouse=True)
def everywhere(scene: Scene) -> None:
    scene.be_global()


def test_every_node_gets_a_task_that_is_made_for_it(scene: Scene) -> None:
    scene.plan()

    assert [(task.node_id, task.slot) for task in scene.wanted()] == [("n1", 0), ("n2", 0), ("n3", 0)]
    assert scene.plan().actions == ()


def test_constraints_choose_nodes(scene: Scene) -> None:
    scene.label_node("n2", disk="ssd")
    scene.constrain("node.labels.disk==ssd")

    scene.plan()

    assert [task.node_id for task in scene.wanted()] == ["n2"]


def test_a_node_that_no_longer_fits_loses_its_task(scene: Scene) -> None:
    scene.label_node("n1", disk="ssd")
    scene.constrain("node.labels.disk==ssd")
    scene.plan()
    scene.label_node("n1", disk="hdd")

    scene.plan()

    assert [task.desired_state for task in scene.tasks()] == [TaskState.SHUTDOWN]


@pytest.mark.parametrize(("state", "availability"), [(NodeState.DOWN, "active"), (NodeState.READY, "drain")])
def test_a_node_that_is_down_or_drained_loses_its_task_and_gets_one_back_later(
    scene: Scene, state: NodeState, availability: str
) -> None:
    scene.plan()
    scene.node("n1", state=state, availability=availability)

    scene.plan()
    assert [task.node_id for task in scene.wanted()] == ["n2", "n3"]
    scene.node("n1")
    scene.plan()

    assert sorted(task.node_id for task in scene.wanted()) == ["n1", "n2", "n3"]


def test_a_node_that_comes_back_waits_until_its_last_task_has_stopped(scene: Scene) -> None:
    scene.plan()
    old = scene.tasks()[0].id
    scene.report(old, TaskState.RUNNING)
    scene.node("n1", availability="drain")
    scene.plan()
    scene.node("n1")

    scene.plan()
    new = scene.tasks()[-1]
    assert (new.node_id, new.desired_state) == ("n1", TaskState.READY)
    scene.report(old, TaskState.SHUTDOWN)
    scene.plan()

    assert scene.task(new.id).desired_state is TaskState.RUNNING


def test_a_paused_node_keeps_its_task_and_gets_no_new_one(scene: Scene) -> None:
    scene.node("n2", availability="pause")
    scene.plan()
    assert [task.node_id for task in scene.wanted()] == ["n1", "n3"]
    scene.node("n1", availability="pause")

    assert scene.plan().actions == ()
    scene.report(scene.tasks()[0].id, TaskState.FAILED)
    scene.plan()

    assert [task.node_id for task in scene.wanted()] == ["n3"]


def test_a_failed_task_is_replaced_on_its_node(scene: Scene) -> None:
    scene.plan()
    scene.report(next(task.id for task in scene.tasks() if task.node_id == "n2"), TaskState.FAILED)

    scene.plan()

    newest = scene.newest(slot=0)
    assert (newest.node_id, newest.desired_state) == ("n2", TaskState.READY)


def test_tasks_of_a_node_that_is_gone_are_removed(scene: Scene) -> None:
    scene.plan()
    scene.delete_node("n3")

    scene.plan()

    assert [task.node_id for task in scene.tasks() if task.desired_state is TaskState.REMOVE] == ["n3"]


def test_a_new_spec_is_rolled_out_node_by_node(scene: Scene) -> None:
    scene.plan()
    scene.user_sets_image("v2")

    scene.plan()

    assert [scene.image_of(task) for task in scene.wanted()].count("v2") == 1
