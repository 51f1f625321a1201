"""The constraint enforcer (SWARM 4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from raftswarm.manager.orchestrator.enforcer import ConstraintEnforcer, RejectTask, plan_rejections
from raftswarm.objects.records import Node, NodeDescription
from raftswarm.objects.specs import NodeSpec, Reservations, Resources
from raftswarm.objects.states import TaskState
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from tests.manager.orchestrator.conftest import Scene


class Wall:
    def now_ns(self) -> int:
        return 7


def node_of(scene: Scene, node_id: str = "n1") -> Node:
    node = scene.store.get(Node, node_id)
    assert node is not None
    return node


def rejected(scene: Scene, node_id: str = "n1") -> list[str]:
    node = node_of(scene, node_id)
    plan = in_one_piece(plan_rejections(node, scene.store.tasks_of_node(node_id), now=5))
    return [action.task_id for action in plan]


def test_a_task_whose_node_lost_its_label_is_rejected(scene: Scene) -> None:
    scene.label_node("n1", disk="ssd")
    scene.constrain("node.labels.disk==ssd")
    task = scene.add()
    assert rejected(scene) == []

    scene.label_node("n1", disk="hdd")

    assert rejected(scene) == [task]


def test_constraints_that_an_update_has_changed_are_the_updates_affair(scene: Scene) -> None:
    scene.add()
    scene.constrain("node.labels.disk==ssd")

    assert rejected(scene) == []


@pytest.mark.parametrize(
    ("state", "desired"),
    [
        (TaskState.PENDING, TaskState.RUNNING),
        (TaskState.FAILED, TaskState.RUNNING),
        (TaskState.RUNNING, TaskState.SHUTDOWN),
    ],
)
def test_what_does_not_run_or_is_to_stop_is_left_alone(scene: Scene, state: TaskState, desired: TaskState) -> None:
    scene.constrain("node.labels.disk==ssd")
    scene.add(state=state, desired=desired)

    assert rejected(scene) == []


@pytest.mark.parametrize("availability", ["pause", "drain"])
def test_only_active_nodes_are_looked_at(scene: Scene, availability: str) -> None:
    scene.constrain("node.labels.disk==ssd")
    scene.add()
    scene.node("n1", availability=availability)

    assert rejected(scene) == []


def test_of_tasks_that_no_longer_all_fit_the_oldest_stay(scene: Scene) -> None:
    half = Resources(reservations=Reservations(nano_cpus=2, memory_bytes=2))
    scene._change(task_template=replace(scene.service.spec.task_template, resources=half))
    scene.put(replace(node_of(scene), description=NodeDescription(nano_cpus=5, memory_bytes=9)))

    tasks = [scene.add(slot=slot) for slot in (3, 1, 2)]

    assert rejected(scene) == tasks[2:]


def test_a_rejection_says_why_and_leaves_what_is_wanted(scene: Scene) -> None:
    task = scene.add()

    scene.write(RejectTask(task, node_of(scene), 5))

    stored = scene.task(task)
    assert stored.desired_state is TaskState.RUNNING
    assert stored.status.state is TaskState.REJECTED
    assert stored.status.message == "task rejected by constraint enforcer"
    assert stored.status.error == "assigned node no longer meets constraints"


def test_nothing_is_rejected_for_a_node_that_has_changed_since(scene: Scene) -> None:
    task = scene.add()
    before = node_of(scene)
    scene.label_node("n1", disk="ssd")

    scene.write(RejectTask(task, before, 5))

    assert scene.task(task).status.state is TaskState.RUNNING


def test_a_task_that_has_ended_stays_as_it_ended(scene: Scene) -> None:
    task = scene.add(state=TaskState.COMPLETE)

    scene.write(RejectTask(task, node_of(scene), 5))

    assert scene.task(task).status.state is TaskState.COMPLETE


async def test_the_loop_looks_at_all_nodes_first_and_then_at_those_that_change(
    scene: Scene, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scene.label_node("n2", disk="ssd")
    scene.constrain("node.labels.disk==ssd")
    misplaced, placed = scene.add(node="n1"), scene.add(slot=2, node="n2")

    nursery.start_soon(ConstraintEnforcer(scene.store, scene.writes, Wall()).run)
    await trio.testing.wait_all_tasks_blocked()
    assert scene.task(misplaced).status.state is TaskState.REJECTED
    assert scene.task(placed).status.state is TaskState.RUNNING

    scene.put(replace(node_of(scene, "n2"), spec=NodeSpec()))
    await trio.testing.wait_all_tasks_blocked()
    assert scene.task(placed).status.state is TaskState.REJECTED
    nursery.cancel_scope.cancel()


async def test_a_rejected_task_is_replaced(
    scene: Scene, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    scene.label_node("n1", disk="ssd")
    scene.constrain("node.labels.disk==ssd")
    task = scene.add()
    scene.plan()
    scene.label_node("n1", disk="hdd")

    nursery.start_soon(ConstraintEnforcer(scene.store, scene.writes, Wall()).run)
    await trio.testing.wait_all_tasks_blocked()
    scene.plan()

    assert [each.desired_state for each in scene.tasks()] == [TaskState.SHUTDOWN, TaskState.READY]
    assert scene.task(task).status.state is TaskState.REJECTED
    nursery.cancel_scope.cancel()
