"""One pass of the scheduler (SWARM 5), and what it may write (2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.manager.scheduler.actions import AnyAction, AssignTask, EndTask, ExplainTask
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.manager.scheduler.planner import plan_assignments
from raftswarm.objects.specs import Placement
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from tests.manager.scheduler.conftest import Yard


def plan(ledger: Ledger, *, now: int) -> list[AnyAction]:
    return in_one_piece(plan_assignments(ledger, now=now))


def test_a_task_without_a_node_gets_one(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task()

    assert plan(yard.ledger(), now=5) == [AssignTask(task.id, yard.at("n1"), 5)]


def test_planning_leaves_the_ledger_as_it_was(yard: Yard) -> None:
    yard.node("n1")
    yard.task()
    ledger = yard.ledger()

    plan(ledger, now=5)

    assert plan(ledger, now=5) != []
    assert ledger.loads["n1"].active == 0


def test_services_share_the_nodes_of_one_pass(yard: Yard) -> None:
    yard.node("n1", cpus=1)
    first = yard.task(service="a", cpus=1)
    second = yard.task(service="b", cpus=1)

    assert plan(yard.ledger(), now=5) == [
        AssignTask(first.id, yard.at("n1"), 5),
        ExplainTask(second.id, "no suitable node (insufficient resources on 1 node)", 5),
    ]


def test_an_explanation_is_written_once(yard: Yard) -> None:
    yard.node("n1", state=NodeState.DOWN)
    task = yard.task()
    (explained,) = plan(yard.ledger(), now=5)
    assert explained == ExplainTask(task.id, "no suitable node (1 node not available for new tasks)", 5)
    transaction = yard.store.begin()
    explained.write(transaction)
    yard.commit(transaction)

    assert plan(yard.ledger(), now=6) == []


def test_without_nodes_there_is_nothing_to_explain(yard: Yard) -> None:
    task = yard.task()

    assert plan(yard.ledger(), now=5) == [ExplainTask(task.id, "no suitable node", 5)]


def test_a_task_made_for_a_node_is_only_confirmed(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    task = yard.task(slot=0, node="n2")

    assert plan(yard.ledger(), now=5) == [AssignTask(task.id, yard.at("n2"), 5)]


def test_a_task_whose_own_node_cannot_take_it_says_so_without_the_prefix(yard: Yard) -> None:
    yard.node("n1", availability="pause")
    task = yard.task(slot=0, node="n1")

    assert plan(yard.ledger(), now=5) == [
        ExplainTask(task.id, "1 node not available for new tasks", 5),
    ]


def test_tasks_made_for_a_node_take_their_part_of_it_from_all_others_of_one_pass(yard: Yard) -> None:
    yard.node("n1", cpus=1)
    first = yard.task(service="a", slot=0, node="n1", cpus=1)
    second = yard.task(service="b", slot=0, node="n1", cpus=1)
    third = yard.task(service="c", cpus=1)

    assert plan(yard.ledger(), now=5) == [
        AssignTask(first.id, yard.at("n1"), 5),
        ExplainTask(second.id, "insufficient resources on 1 node", 5),
        ExplainTask(third.id, "no suitable node (insufficient resources on 1 node)", 5),
    ]


def test_a_task_whose_own_node_is_missing_waits(yard: Yard) -> None:
    yard.task(slot=0, node="gone")

    assert plan(yard.ledger(), now=5) == []


def test_tasks_that_nobody_wants_any_more_have_ended(yard: Yard) -> None:
    yard.node("n1")
    shut_down = yard.task(desired=TaskState.SHUTDOWN)
    removed = yard.task(desired=TaskState.REMOVE)

    assert plan(yard.ledger(), now=5) == [EndTask(shut_down.id, 5), EndTask(removed.id, 5)]


def test_a_replacement_that_waits_gets_its_node_already(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(desired=TaskState.READY)

    assert plan(yard.ledger(), now=5) == [AssignTask(task.id, yard.at("n1"), 5)]


def test_constraints_are_explained(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    task = yard.task(placement=Placement(constraints=["node.labels.zone==east"]))

    assert plan(yard.ledger(), now=5) == [
        ExplainTask(task.id, "no suitable node (scheduling constraints not satisfied on 2 nodes)", 5)
    ]


def test_failures_of_another_spec_do_not_count(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    yard.task(node="n2", state=TaskState.RUNNING, version=2)
    failed = yard.task(node="n1", state=TaskState.FAILED, version=1)
    task = yard.task(version=2)
    ledger = yard.ledger()
    for _ in range(5):
        ledger.note_failure(failed, now=5)

    assert plan(ledger, now=5) == [AssignTask(task.id, yard.at("n1"), 5)]
