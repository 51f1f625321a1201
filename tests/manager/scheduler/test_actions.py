"""What the scheduler writes, if it still holds (SWARM 2.1, 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.manager.scheduler.actions import AssignTask, EndTask, ExplainTask
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

    assigned = write(yard, AssignTask(task.id, "n1", 5), task)

    assert assigned.node_id == "n1"
    assert (assigned.status.state, assigned.status.timestamp) == (TaskState.ASSIGNED, 5)
    assert (assigned.status.message, assigned.status.error) == ("scheduler assigned task to node", "")


def test_a_preassigned_task_is_confirmed(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(slot=0, node="n1")

    assigned = write(yard, AssignTask(task.id, "n1", 5), task)

    assert assigned.status.message == "scheduler confirmed task can run on preassigned node"


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.PENDING])
def test_tasks_that_are_not_pending_are_left_alone(yard: Yard, state: TaskState) -> None:
    yard.node("n1")
    task = yard.task(state=state, desired=TaskState.SHUTDOWN)
    before = yard.stored(task)

    for action in (AssignTask(task.id, "n1", 5), ExplainTask(task.id, "why", 5), EndTask(task.id, 5)):
        assert write(yard, action, task) == before


@pytest.mark.parametrize(("state", "availability"), [(NodeState.DOWN, "active"), (NodeState.READY, "drain")])
def test_no_task_goes_to_a_node_that_became_unavailable(yard: Yard, state: NodeState, availability: str) -> None:
    yard.node("n1", state=state, availability=availability)
    task = yard.task()

    assert write(yard, AssignTask(task.id, "n1", 5), task).node_id == ""
    assert write(yard, AssignTask(task.id, "gone", 5), task).node_id == ""


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
