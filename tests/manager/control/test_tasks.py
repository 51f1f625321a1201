"""Listing tasks (SWARM 14), above all the filter that the docker CLI follows progress with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import GetTask, ListTasks, TaskAnswer, TasksAnswer
from raftswarm.objects.records import Node, NodeDescription, Service, Task
from raftswarm.objects.specs import ContainerSpec, ServiceSpec, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.store.store import Store

OLD, NEW = (TaskSpec(container_spec=ContainerSpec(image=image)) for image in ("nginx:1", "nginx:2"))


def make_task(task_id: str, *, slot: int = 1, node: str = "", spec: TaskSpec = NEW, version: int = 0) -> Task:
    return Task(
        id=task_id,
        spec=spec,
        spec_version=version,
        service_id="s1",
        service_name="web",
        service_labels={"tier": "front"},
        slot=slot,
        node_id=node,
    )


@pytest.fixture
def filled(store: Store, put: Callable[..., None]) -> Store:
    put(
        Service(id="s1", spec=ServiceSpec(name="web", task_template=NEW), spec_version=7),
        Service(id="s2", spec=ServiceSpec(name="db")),
        Node(id="n1", description=NodeDescription(hostname="docker1")),
        make_task("t1", node="n1"),
        make_task("t2", slot=2, spec=OLD),
        replace(make_task("t3", slot=3), desired_state=TaskState.SHUTDOWN),
        Task(id="u1", spec=TaskSpec(), service_id="s2", service_name="db", slot=1),
    )
    return store


async def listed(handler: ControlHandler, filters: dict[str, list[str]]) -> list[str]:
    answer = await handler.handle(ListTasks(filters=filters))
    assert isinstance(answer, TasksAnswer)
    return [task.id for task in answer.tasks]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["t1", "t2", "t3", "u1"]),
        ({"service": ["web"]}, ["t1", "t2", "t3"]),
        ({"service": ["s1", "db"]}, ["t1", "t2", "t3", "u1"]),
        ({"node": ["docker1"]}, ["t1"]),
        ({"service": ["db"], "node": ["n1"]}, []),
        ({"name": ["web.2"]}, ["t2"]),
        ({"id": ["u"]}, ["u1"]),
        ({"label": ["tier=front"]}, ["t1", "t2", "t3"]),
        ({"desired-state": ["shutdown"]}, ["t3"]),
        ({"desired-state": ["running", "shutdown"], "service": ["s1"]}, ["t1", "t2", "t3"]),
        ({"runtime": ["container"], "id": ["u"]}, ["u1"]),
        ({"runtime": ["plugin"]}, []),
    ],
)
async def test_tasks_are_filtered(
    handler: ControlHandler, filled: Store, filters: dict[str, list[str]], expected: list[str]
) -> None:
    assert await listed(handler, filters) == expected


async def test_up_to_date_are_the_tasks_that_no_update_would_replace(handler: ControlHandler, filled: Store) -> None:
    """Also those of an older version with the same content: scaling makes a version and keeps the tasks."""
    assert await listed(handler, {"service": ["s1"], "_up-to-date": ["true"]}) == ["t1", "t3"]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"nosuch": ["x"]}, "Invalid filter 'nosuch'"),
        ({"desired-state": ["happy"]}, "Invalid desired-state filter: 'happy'"),
        ({"service": ["nosuch"]}, "service nosuch not found"),
        ({"node": ["nosuch"]}, "node nosuch not found"),
    ],
)
async def test_what_no_list_knows_is_refused(
    handler: ControlHandler, filled: Store, filters: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(RequestRefused, match=f"^{message}$") as refused:
        await listed(handler, filters)
    assert refused.value.from_engine


async def test_a_task_is_shown_by_a_prefix_of_its_id(handler: ControlHandler, filled: Store) -> None:
    answer = await handler.handle(GetTask(reference="u"))

    assert isinstance(answer, TaskAnswer)
    assert answer.task.name == "db.1.u1"
