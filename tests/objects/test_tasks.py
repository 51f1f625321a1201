"""What loops ask about tasks: the dirty test (SWARM 2.3), and whether one may still run (4.5)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from raftswarm.objects.records import Node, Service, TaskStatus
from raftswarm.objects.specs import (
    ContainerSpec,
    EndpointSpec,
    NodeSpec,
    Placement,
    PortConfig,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import can_host, holds_resources, is_dirty, may_run, new_task

MANAGER = Node(id="n1", role="manager", state=NodeState.READY)
SERVICE = Service(
    id="s",
    spec=ServiceSpec(name="web", labels={"a": "b"}, task_template=TaskSpec(container_spec=ContainerSpec(image="v1"))),
)
TASK = new_task(SERVICE, task_id="t", now=7, slot=3)


def updated(**changes: object) -> Service:
    return replace(SERVICE, spec=replace(SERVICE.spec, **changes), spec_version=9)


def template(image: str = "v1", constraints: list[str] | None = None) -> TaskSpec:
    placement = Placement(constraints=constraints) if constraints is not None else None
    return TaskSpec(container_spec=ContainerSpec(image=image), placement=placement)


def test_a_new_task_copies_what_it_needs_of_its_service() -> None:
    assert (TASK.name, TASK.spec, TASK.service_labels) == ("web.3.t", SERVICE.spec.task_template, {"a": "b"})
    assert TASK.status == TaskStatus(state=TaskState.NEW, timestamp=7, message="created")
    assert TASK.desired_state is TaskState.RUNNING


def test_a_task_of_the_current_spec_version_is_clean() -> None:
    assert not is_dirty(TASK, SERVICE, MANAGER)


def test_a_task_of_another_template_is_dirty() -> None:
    assert is_dirty(TASK, updated(task_template=template("v2")), MANAGER)


def test_what_is_no_part_of_the_template_makes_no_task_dirty() -> None:
    assert not is_dirty(TASK, updated(update_config=UpdateConfig(parallelism=4), labels={"c": "d"}), MANAGER)


def test_other_ports_make_a_task_dirty() -> None:
    ports = EndpointSpec(ports=[PortConfig(target_port=80)])

    assert is_dirty(TASK, updated(endpoint_spec=ports), MANAGER)


def test_a_forced_update_makes_tasks_dirty() -> None:
    assert is_dirty(TASK, updated(task_template=replace(template(), force_update=1)), MANAGER)


def test_new_constraints_spare_a_task_whose_node_fulfils_them() -> None:
    assert not is_dirty(TASK, updated(task_template=template(constraints=["node.role==manager"])), MANAGER)
    assert is_dirty(TASK, updated(task_template=template(constraints=["node.role==worker"])), MANAGER)
    assert is_dirty(TASK, updated(task_template=template("v2", constraints=["node.role==manager"])), MANAGER)
    assert is_dirty(TASK, updated(task_template=template(constraints=["node.role==manager"])), None)


@pytest.mark.parametrize(
    ("node", "hosts"),
    [
        (None, False),
        (Node(id="n", state=NodeState.READY), True),
        (Node(id="n", state=NodeState.UNKNOWN), True),
        (Node(id="n", state=NodeState.DISCONNECTED), True),
        (Node(id="n", state=NodeState.READY, spec=NodeSpec(availability="pause")), True),
        (Node(id="n", state=NodeState.READY, spec=NodeSpec(availability="drain")), False),
        (Node(id="n", state=NodeState.DOWN), False),
    ],
)
def test_tasks_stay_on_nodes_that_are_there_and_neither_down_nor_drained(node: Node | None, hosts: bool) -> None:
    assert can_host(node) is hosts


@pytest.mark.parametrize(
    ("state", "node_state", "may"),
    [
        (TaskState.PENDING, NodeState.READY, False),
        (TaskState.ASSIGNED, NodeState.READY, True),
        (TaskState.RUNNING, NodeState.UNKNOWN, True),
        (TaskState.RUNNING, NodeState.DOWN, False),
        (TaskState.COMPLETE, NodeState.READY, False),
        (TaskState.ORPHANED, NodeState.READY, False),
    ],
)
def test_a_process_may_exist_from_assignment_to_the_end_on_a_node_that_is_not_down(
    state: TaskState, node_state: NodeState, may: bool
) -> None:
    task = replace(TASK, node_id="n1", status=TaskStatus(state=state))

    assert may_run(task, replace(MANAGER, state=node_state)) is may
    assert not may_run(task, None)


def test_a_task_that_was_told_to_stop_holds_its_resources_until_it_has() -> None:
    task = replace(TASK, node_id="n1", desired_state=TaskState.SHUTDOWN, status=TaskStatus(state=TaskState.RUNNING))

    assert holds_resources(task)
    assert not holds_resources(replace(task, status=TaskStatus(state=TaskState.SHUTDOWN)))
