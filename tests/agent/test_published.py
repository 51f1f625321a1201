"""A node's proxy serves the swarm's routes and, in host mode, the tasks that run here."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.agent.published import PublishedPorts, host_routes
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import PortConfig, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import Backend, Route

HOST_PORT = PortConfig(target_port=80, published_port=8080, publish_mode="host")
INGRESS = Route(service_id="s0", port=PortConfig(target_port=80, published_port=80))


def make_task(state: TaskState = TaskState.RUNNING, port: PortConfig = HOST_PORT) -> Task:
    status = TaskStatus(state=state, address="127.64.0.1", ports=(port,))
    return Task(id="t1", spec=TaskSpec(), service_id="s1", node_id="n1", status=status)


OWN = Route(service_id="s1", port=HOST_PORT, backends=(Backend(task_id="t1", address="127.64.0.1", node_id="n1"),))


def test_a_host_mode_port_leads_to_its_own_task() -> None:
    assert host_routes([make_task()]) == (OWN,)


@pytest.mark.parametrize("state", [TaskState.STARTING, TaskState.FAILED, TaskState.SHUTDOWN])
def test_a_host_mode_port_is_served_while_its_task_runs(state: TaskState) -> None:
    assert host_routes([make_task(state)]) == ()


def test_a_port_without_a_number_is_not_served() -> None:
    assert host_routes([make_task(port=msgspec.structs.replace(HOST_PORT, published_port=0))]) == ()


def test_the_proxy_is_told_both_kinds_and_only_changes() -> None:
    told: list[tuple[Route, ...]] = []
    ports = PublishedPorts(told.append)

    ports.set_swarm_routes((INGRESS,))
    ports.set_tasks([make_task()])
    ports.set_tasks([make_task()])
    ports.set_swarm_routes((INGRESS,))
    ports.set_tasks([make_task(TaskState.COMPLETE)])

    assert told == [(INGRESS,), (INGRESS, OWN), (INGRESS,)]
