"""Why a task is where it is, in sentences that say what would have to change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.explaining import describe_service, describe_task
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import ExplainService, ExplainTask, ServiceExplained, TaskExplained
from raftswarm.objects.records import Node, NodeDescription, Service, Task, TaskStatus, UpdateStatus
from raftswarm.objects.specs import (
    ContainerSpec,
    NodeSpec,
    Placement,
    Replicated,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from raftswarm.objects.states import NodeState, TaskState, UpdateState

Put = Callable[..., None]


def node(name: str, **changes: object) -> Node:
    description = NodeDescription(hostname=name, nano_cpus=2_000_000_000, memory_bytes=2**30, engine_version="1")
    return replace(Node(id=f"id-{name}", state=NodeState.READY, description=description), **changes)


SPEC = ServiceSpec(
    name="web",
    task_template=TaskSpec(
        container_spec=ContainerSpec(image="nginx"),
        placement=Placement(constraints=["node.labels.zone==mars"]),
        resources=Resources(reservations=Reservations(nano_cpus=64_000_000_000)),
    ),
    mode=ServiceMode(replicated=Replicated(replicas=2)),
)


def waiting(number: int) -> Task:
    return Task(
        id=f"t{number}",
        spec=SPEC.task_template,
        service_id="s1",
        service_name="web",
        slot=number,
        status=TaskStatus(state=TaskState.PENDING, error="no suitable node (insufficient resources on 2 nodes)"),
    )


async def test_every_obstacle_on_every_node_is_named_with_what_would_help(handler: ControlHandler, put: Put) -> None:
    put(
        Service(id="s1", spec=SPEC),
        waiting(1),
        node("docker1", spec=NodeSpec(labels={"zone": "earth"})),
        node("docker2", spec=NodeSpec(availability="drain", labels={"zone": "mars"})),
    )

    answer = await handler.handle(ExplainTask(reference="t1"))

    assert isinstance(answer, TaskExplained)
    assert answer.explanation.summary == "no suitable node (insufficient resources on 2 nodes)"
    assert {one.hostname: one.obstacles for one in answer.explanation.nodes} == {
        "docker1": [
            "64 CPUs are asked for, 2 of 2 are free",
            "node.labels.zone==mars is asked for, and it has earth: `docker node update --label-add zone=mars docker1`",
        ],
        "docker2": [
            "its availability is drain: `docker node update --availability active docker2`",
            "64 CPUs are asked for, 2 of 2 are free",
        ],
    }


async def test_a_task_that_was_made_for_a_node_is_explained_by_that_node(handler: ControlHandler, put: Put) -> None:
    put(Service(id="s1", spec=SPEC), replace(waiting(1), node_id="id-docker1"), node("docker1"), node("docker2"))

    answer = await handler.handle(ExplainTask(reference="t1"))

    assert isinstance(answer, TaskExplained)
    assert [one.hostname for one in answer.explanation.nodes] == ["docker1"]


async def test_a_service_is_explained_by_the_tasks_that_are_wanted(handler: ControlHandler, put: Put) -> None:
    running = replace(waiting(2), node_id="id-docker1", status=TaskStatus(state=TaskState.RUNNING))
    past = replace(waiting(3), desired_state=TaskState.SHUTDOWN, status=TaskStatus(state=TaskState.FAILED))
    put(Service(id="s1", spec=SPEC), waiting(1), running, past, node("docker1"))

    answer = await handler.handle(ExplainService(reference="web"))

    assert isinstance(answer, ServiceExplained)
    explanation = answer.explanation
    assert explanation.summary == "replicated: 1 of 2 tasks run"
    assert [(task.name, task.state, bool(task.nodes)) for task in explanation.tasks] == [
        ("web.1", "pending", True),
        ("web.2", "running", False),
    ]


async def test_what_does_not_exist_cannot_be_explained(handler: ControlHandler) -> None:
    with pytest.raises(RequestRefused, match="service nosuch not found"):
        await handler.handle(ExplainService(reference="nosuch"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": TaskStatus(state=TaskState.NEW)}, "it waits for its ports"),
        ({"status": TaskStatus(state=TaskState.PENDING)}, "it waits for the scheduler"),
        ({"status": TaskStatus(state=TaskState.ASSIGNED)}, "its node has yet to take it"),
        ({"status": TaskStatus(state=TaskState.RUNNING)}, "it runs"),
        (
            {"status": TaskStatus(state=TaskState.READY), "desired_state": TaskState.READY},
            "it waits until its restart delay is over and the task before it has stopped",
        ),
        (
            {"status": TaskStatus(state=TaskState.FAILED, error="task: non-zero exit (1)")},
            "it ended as failed: task: non-zero exit (1)",
        ),
        (
            {
                "status": TaskStatus(state=TaskState.FAILED),
                "desired_state": TaskState.SHUTDOWN,
                "spec": TaskSpec(restart_policy=RestartPolicy(condition="on-failure", max_attempts=3)),
            },
            "it ended as failed; restart condition on-failure, at most 3 times",
        ),
        (
            {"status": TaskStatus(state=TaskState.RUNNING), "desired_state": TaskState.SHUTDOWN},
            "it is to end (shutdown), and is running",
        ),
        ({"status": TaskStatus(state=TaskState.COMPLETE), "job_iteration": 0}, "it is complete"),
    ],
)
def test_a_task_is_described_by_how_far_it_has_come(changes: dict[str, object], sentence: str) -> None:
    assert describe_task(replace(waiting(1), **changes), node("docker1")) == sentence


def test_a_task_on_a_node_that_is_down_says_so() -> None:
    task = replace(waiting(1), node_id="id-docker1", status=TaskStatus(state=TaskState.RUNNING))

    assert describe_task(task, node("docker1", state=NodeState.DOWN)) == "its node is down"


def test_a_service_tells_of_its_update() -> None:
    status = UpdateStatus(state=UpdateState.ROLLBACK_PAUSED, message="update paused due to failure of task t1")
    service = Service(id="s1", spec=SPEC, update_status=status)

    assert describe_service(service, []) == (
        "replicated: no task is wanted; update rollback paused: update paused due to failure of task t1"
    )
