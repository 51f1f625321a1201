"""Routes of published ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.manager.dispatcher.routes import changes_routes, find_routes
from raftswarm.objects.records import Endpoint, Node, Service, Task, TaskStatus
from raftswarm.objects.specs import PortConfig, ServiceSpec, TaskSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.contracts import Change
from raftswarm.store.store import Store
from raftswarm.wire.requests import Backend, Route
from raftswarm.world.slices import in_one_piece

HTTP = PortConfig(target_port=80, published_port=8080)
ON_HOSTS = PortConfig(target_port=81, published_port=8081, publish_mode="host")
WEB = Service(id="web", spec=ServiceSpec(name="web"), endpoint=Endpoint(ports=(HTTP, ON_HOSTS)))


def make_task(
    task_id: str, *, state: TaskState = TaskState.RUNNING, address: str = "127.64.0.1", **changes: Any
) -> Task:
    status = TaskStatus(state=state, address=address)
    task = Task(id=task_id, spec=TaskSpec(), service_id="web", node_id="up", status=status)
    return replace(task, **changes)


def test_a_port_leads_to_the_tasks_that_run(store: Store, put: Callable[..., None]) -> None:
    put(
        WEB,
        Service(id="inside", spec=ServiceSpec(name="inside"), endpoint=Endpoint()),
        Service(id="new", spec=ServiceSpec(name="new")),
        Node(id="up", state=NodeState.READY),
        Node(id="doubtful", state=NodeState.UNKNOWN),
        Node(id="down", state=NodeState.DOWN),
        make_task("a"),
        make_task("b", node_id="doubtful"),
        make_task("starting", state=TaskState.STARTING),
        make_task("stopping", desired_state=TaskState.SHUTDOWN),
        make_task("addressless", address=""),
        make_task("lost", node_id="down"),
        make_task("homeless", node_id="gone"),
    )

    backends = (
        Backend(task_id="a", address="127.64.0.1", node_id="up"),
        Backend(task_id="b", address="127.64.0.1", node_id="doubtful"),
    )
    assert in_one_piece(find_routes(store)) == (Route(service_id="web", port=HTTP, backends=backends),)


def test_a_port_that_nobody_serves_has_a_route_without_backends(store: Store, put: Callable[..., None]) -> None:
    put(WEB)

    assert in_one_piece(find_routes(store)) == (Route(service_id="web", port=HTTP),)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, WEB, True),
        (WEB, None, True),
        (WEB, replace(WEB, spec_version=3), False),
        (WEB, replace(WEB, endpoint=Endpoint()), True),
        (make_task("a", state=TaskState.STARTING), make_task("a"), True),
        (make_task("a"), make_task("a", desired_state=TaskState.SHUTDOWN), True),
        (make_task("a"), make_task("a", version=9), False),
        (make_task("a"), make_task("a", address="127.64.0.2"), True),
        (make_task("a"), None, True),
        (None, make_task("a", state=TaskState.NEW), False),
        (Node(id="n", state=NodeState.READY), Node(id="n", state=NodeState.DOWN), True),
        (Node(id="n", state=NodeState.READY), Node(id="n", state=NodeState.UNKNOWN), False),
        (Node(id="n"), None, True),
    ],
)
def test_a_change_says_whether_routes_may_differ(before: Any, after: Any, expected: bool) -> None:
    assert changes_routes(Change(before, after, 1)) is expected
