"""One pass of the allocator: ports for services, then the tasks whose service has all it needs (SWARM 6.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs

from raftswarm.manager.allocator.actions import AnyAction, PublishService, QueueTask
from raftswarm.manager.allocator.ports import PortSpace, PortsTaken, is_allocated
from raftswarm.objects.records import Endpoint, Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import endpoint_spec
from raftswarm.world.slices import Slices

logger = logging.getLogger(__name__)


@attrs.frozen
class Plan:
    """What to write, what could not be done, and where the search for ports goes on."""

    actions: tuple[AnyAction, ...]
    refused: Mapping[str, str]
    """Service ids, and why they got nothing."""
    latest_ports: Mapping[str, int]


def plan_allocation(
    services: Iterable[Service], tasks: Iterable[Task], latest_ports: Mapping[str, int], *, now: int
) -> Slices[Plan]:
    """Allocate what is missing. `services` are all there are; `tasks` those that are NEW."""
    known = {service.id: service for service in services}
    space = PortSpace.of(known.values(), latest_ports)
    actions: list[AnyAction] = []
    refused: dict[str, str] = {}
    for service in _unallocated(known.values()):
        yield
        wanted = endpoint_spec(service)
        try:
            ports, space = space.allocate(service, wanted)
        except PortsTaken as taken:
            refused[service.id] = str(taken)
            continue
        endpoint = Endpoint(spec=wanted, ports=ports) if ports else None
        actions.append(PublishService(service.id, wanted, endpoint))

    for task in tasks:
        yield
        if task.status.state is TaskState.NEW and task.service_id not in refused:
            actions.append(QueueTask(task.id, now))
    return Plan(tuple(actions), refused, space.latest)


def _unallocated(services: Iterable[Service]) -> list[Service]:
    """In the order in which they asked: of two that want one port, the earlier gets it."""
    missing = [service for service in services if not is_allocated(service)]
    return sorted(missing, key=lambda service: (service.updated_at, service.id))
