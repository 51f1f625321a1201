"""What is sent to an agent (SWARM 7.5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from raftswarm.manager.dispatcher.assignments import MAX_CHANGES, NodeAssignments, matters
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import PortConfig, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.store.store import Store
from raftswarm.wire.requests import Assignments, Route

ROUTES = (Route(service_id="web", port=PortConfig(target_port=80, published_port=80)),)


def make_task(task_id: str, state: TaskState = TaskState.ASSIGNED, node: str = "n1") -> Task:
    return Task(id=task_id, spec=TaskSpec(), node_id=node, status=TaskStatus(state=state))


def ids(message: Assignments | None) -> tuple[list[str], list[str]]:
    assert message is not None
    return [task.id for task in message.tasks], list(message.removed)


@pytest.fixture
def begun(store: Store, put: Callable[..., None]) -> NodeAssignments:
    put(
        make_task("a"),
        make_task("old", TaskState.FAILED),
        make_task("pending", TaskState.PENDING),
        make_task("elsewhere", node="n2"),
    )
    return NodeAssignments("n1")


def test_the_first_message_is_everything_from_assigned_on(begun: NodeAssignments, store: Store) -> None:
    message = begun.next_message(store, ROUTES)

    assert message is not None
    assert message.complete
    assert ids(message) == (["a", "old"], [])
    assert message.routes == ROUTES
    assert begun.next_message(store, ROUTES) is None


def test_later_messages_are_what_changed(
    begun: NodeAssignments, store: Store, put: Callable[..., None], remove: Callable[..., None]
) -> None:
    begun.next_message(store, ROUTES)
    put(make_task("b"), make_task("pending"), replace(make_task("a"), desired_state=TaskState.SHUTDOWN))
    remove(make_task("old", TaskState.FAILED))
    for task_id in ("b", "pending", "a", "old", "never seen"):
        begun.note(task_id)

    message = begun.next_message(store, ROUTES)

    assert message is not None
    assert not message.complete
    assert ids(message) == (["b", "pending", "a"], ["old"])
    assert message.routes is None
    begun.note("old")
    assert begun.next_message(store, ROUTES) is None


def test_what_the_agent_reported_itself_is_not_sent_back(
    begun: NodeAssignments, store: Store, put: Callable[..., None]
) -> None:
    begun.next_message(store, ROUTES)
    put(make_task("a", TaskState.RUNNING))
    begun.note("a")

    assert begun.next_message(store, ROUTES) is None


def test_a_large_change_is_sent_in_pieces(begun: NodeAssignments, store: Store, put: Callable[..., None]) -> None:
    begun.next_message(store, ROUTES)
    many = [make_task(f"t{number:03}") for number in range(MAX_CHANGES + 20)]
    put(*many)
    for task in many:
        begun.note(task.id)

    pieces = [begun.next_message(store, ROUTES) for _ in range(3)]

    assert [len(piece.tasks) if piece is not None else 0 for piece in pieces] == [MAX_CHANGES, 20, 0]


def test_new_routes_are_sent_alone_if_nothing_else_changed(begun: NodeAssignments, store: Store) -> None:
    begun.next_message(store, ROUTES)

    assert begun.next_message(store, ()) == Assignments(complete=False, routes=())
    assert begun.next_message(store, ()) is None


def test_after_missed_changes_everything_is_sent_again(begun: NodeAssignments, store: Store) -> None:
    begun.next_message(store, ROUTES)
    begun.note("a")

    begun.start_over()

    message = begun.next_message(store, ROUTES)
    assert message is not None
    assert message.complete
    assert begun.next_message(store, ROUTES) is None


@pytest.mark.parametrize(
    ("sent", "task", "expected"),
    [
        (make_task("a"), replace(make_task("a"), version=2, desired_state=TaskState.REMOVE), True),
        (make_task("a"), replace(make_task("a", TaskState.RUNNING), version=2, updated_at=5), False),
        (make_task("a", TaskState.RUNNING), make_task("a", TaskState.ORPHANED), False),
        (make_task("a"), replace(make_task("a"), version=2), True),
    ],
)
def test_a_change_matters_if_it_is_not_the_agents_own(
    sent: Task,
    task: Task,
    expected: bool,
) -> None:
    assert matters(sent, task) is expected
