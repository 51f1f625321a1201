"""What the scheduler writes, if it still holds (SWARM 2.1, 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from raftswarm.manager.scheduler.actions import AssignTask, EndTask, ExplainTask
from raftswarm.objects.records import Node, NodeDescription
from raftswarm.objects.specs import NodeSpec
from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from raftswarm.objects.records import Task
    from tests.manager.scheduler.conftest import Yard


def write(yard: Yard, action: AssignTask | ExplainTask | EndTask, task: Task) -> Task:
    transaction = yard.store.begin()
    action.write(transaction)
    yard.commit(transaction)
    return yard.stored(task)


def test_an_assignment_moves_a_pending_task_to_its_node(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task()
    write(yard, ExplainTask(task.id, "no suitable node", 4), task)

    assigned = write(yard, AssignTask(task.id, yard.at("n1"), 5), task)

    assert assigned.node_id == "n1"
    assert (assigned.status.state, assigned.status.timestamp) == (TaskState.ASSIGNED, 5)
    assert (assigned.status.message, assigned.status.error) == ("scheduler assigned task to node", "")


def test_a_preassigned_task_is_confirmed(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(slot=0, node="n1")

    assigned = write(yard, AssignTask(task.id, yard.at("n1"), 5), task)

    assert assigned.status.message == "scheduler confirmed task can run on preassigned node"


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.PENDING])
def test_tasks_that_are_not_pending_are_left_alone(yard: Yard, state: TaskState) -> None:
    yard.node("n1")
    wanted, unwanted = yard.task(state=state), yard.task(state=state, desired=TaskState.SHUTDOWN)
    before = yard.stored(wanted), yard.stored(unwanted)

    write(yard, AssignTask(wanted.id, yard.at("n1"), 5), wanted)
    write(yard, ExplainTask(wanted.id, "why", 5), wanted)
    write(yard, EndTask(unwanted.id, 5), unwanted)

    assert (yard.stored(wanted), yard.stored(unwanted)) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"state": NodeState.DOWN},
        {"spec": NodeSpec(availability="drain")},
        {"spec": NodeSpec(labels={"disk": "hdd"})},
        {"description": NodeDescription(nano_cpus=1)},
        {"address": "10.0.0.9"},
    ],
)
def test_no_task_goes_to_a_node_that_has_changed_since_the_plan(yard: Yard, changes: dict[str, Any]) -> None:
    node = yard.node("n1")
    task = yard.task()
    yard.put(replace(node, **changes))

    assert write(yard, AssignTask(task.id, node, 5), task).node_id == ""


def test_no_task_goes_to_a_node_that_is_gone(yard: Yard) -> None:
    assert write(yard, AssignTask("t001", Node(id="gone"), 5), yard.task()).node_id == ""


def test_news_of_a_node_that_say_nothing_about_its_tasks_change_no_plan(yard: Yard) -> None:
    node = yard.node("n1")
    task = yard.task()
    yard.put(replace(node, message="heard of"))

    assert write(yard, AssignTask(task.id, node, 5), task).node_id == "n1"


@pytest.mark.parametrize("desired", [TaskState.SHUTDOWN, TaskState.REMOVE])
def test_no_task_is_assigned_that_nobody_wants_any_more(yard: Yard, desired: TaskState) -> None:
    node = yard.node("n1")
    task = yard.task(desired=desired)

    assert write(yard, AssignTask(task.id, node, 5), task).status.state is TaskState.PENDING


def test_an_explanation_leaves_state_and_message(yard: Yard) -> None:
    task = yard.task()

    status = write(yard, ExplainTask(task.id, "no suitable node", 5), task).status

    assert (status.state, status.message, status.error) == (
        TaskState.PENDING,
        "pending task scheduling",
        "no suitable node",
    )


def test_only_a_task_that_nobody_wants_is_ended(yard: Yard) -> None:
    wanted, unwanted = yard.task(), yard.task(desired=TaskState.SHUTDOWN)

    assert write(yard, EndTask(wanted.id, 5), wanted).status.state is TaskState.PENDING
    assert write(yard, EndTask(unwanted.id, 5), unwanted).status.state is TaskState.SHUTDOWN
