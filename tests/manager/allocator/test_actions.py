"""What the allocator writes, if it still holds (SWARM 2.1, 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from raftswarm.manager.allocator.actions import PublishService, QueueTask
from raftswarm.objects.records import Endpoint
from raftswarm.objects.specs import EndpointSpec, PortConfig
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import endpoint_spec

if TYPE_CHECKING:
    from tests.manager.allocator.conftest import Dock

HTTP = PortConfig(target_port=80, published_port=80)


def write(dock: Dock, action: PublishService | QueueTask) -> None:
    transaction = dock.store.begin()
    action.write(transaction)
    dock.commit(transaction)


def publish(dock: Dock, name: str) -> PublishService:
    wanted = endpoint_spec(dock.stored(name))
    return PublishService(name, wanted, Endpoint(spec=wanted, ports=tuple(wanted.ports or ())))


def test_a_queued_task_is_pending_and_has_its_services_ports(dock: Dock) -> None:
    dock.service("web", HTTP)
    dock.task("t", "web")
    write(dock, publish(dock, "web"))

    write(dock, QueueTask("t", 5))

    task = dock.stored_task("t")
    assert (task.status.state, task.status.timestamp) == (TaskState.PENDING, 5)
    assert task.status.message == "pending task scheduling"
    assert task.endpoint == dock.stored("web").endpoint


def test_ports_that_the_user_no_longer_wants_are_not_written(dock: Dock) -> None:
    dock.service("web", HTTP)
    action = publish(dock, "web")
    dock.service("web", PortConfig(target_port=80, published_port=8080))

    write(dock, action)

    assert dock.ports("web") is None


def test_a_task_waits_while_its_service_has_not_the_ports_it_wants(dock: Dock) -> None:
    dock.service("web", HTTP)
    dock.task("t", "web")

    write(dock, QueueTask("t", 5))

    assert dock.stored_task("t").status.state is TaskState.NEW


def test_a_task_waits_while_its_service_has_only_the_ports_it_wanted_before(dock: Dock) -> None:
    dock.service("web", HTTP)
    write(dock, publish(dock, "web"))
    dock.service("web", PortConfig(target_port=80, published_port=8080))
    dock.task("t", "web")

    write(dock, QueueTask("t", 5))

    assert dock.stored_task("t").status.state is TaskState.NEW


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.NEW])
def test_tasks_that_are_not_new_are_left_alone(dock: Dock, state: TaskState) -> None:
    dock.service("web")
    task = dock.task("t", "web")
    transaction = dock.store.begin()
    transaction.update(replace(task, status=replace(task.status, state=state)))
    dock.commit(transaction)
    before = dock.stored_task("t")

    write(dock, QueueTask("t", 5))

    assert dock.stored_task("t") == before


def test_what_is_gone_is_left_alone(dock: Dock) -> None:
    write(dock, QueueTask("gone", 5))
    write(dock, PublishService("gone", EndpointSpec(), None))

    assert dock.log.commands == []
