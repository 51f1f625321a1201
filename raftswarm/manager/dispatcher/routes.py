"""Routes of published ports: for each, the running tasks behind it."""

from __future__ import annotations

from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import PortConfig
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import is_wanted
from raftswarm.store.store import Change, Reader
from raftswarm.wire.requests import Backend, Route
from raftswarm.world.slices import Slices


def find_routes(reader: Reader) -> Slices[tuple[Route, ...]]:
    """All routes of the swarm, sorted by service. A port that nobody serves has one too, without backends.

    What changes meanwhile may or may not be in them; it asks for new ones.
    """
    routes: list[Route] = []
    for service in reader.find(Service):
        yield
        ports = ingress_ports(service)
        if ports:
            backends: list[Backend] = []
            for task in reader.tasks_of_service(service.id):
                yield
                if _serves(task) and _is_up(reader, task):
                    backends.append(Backend(task_id=task.id, address=task.status.address, node_id=task.node_id))
            routes += (Route(service_id=service.id, port=port, backends=tuple(backends)) for port in ports)
    return tuple(routes)


def changes_routes(change: Change) -> bool:
    """Tell whether a change may lead to other routes."""
    match change.before, change.after:
        case (Service() | None) as before, (Service() | None) as after:
            return _ports_of(before) != _ports_of(after)
        case (Task() | None) as before, (Task() | None) as after:
            return _place_of(before) != _place_of(after)
        case Node() as before, Node() as after:
            return (before.state is NodeState.DOWN) != (after.state is NodeState.DOWN)
        case _:
            return isinstance(change.object, Node)


def ingress_ports(service: Service) -> list[PortConfig]:
    """The ports that every node publishes for a service, as allocated."""
    ports = service.endpoint.ports if service.endpoint is not None else ()
    return [port for port in ports if port.publish_mode == "ingress" and port.published_port]


def _ports_of(service: Service | None) -> list[PortConfig]:
    return ingress_ports(service) if service is not None else []


def _place_of(task: Task | None) -> tuple[str, str] | None:
    return (task.service_id, task.status.address) if task is not None and _serves(task) else None


def _serves(task: Task) -> bool:
    # A task that is to stop gets no new connections, even before it knows.
    return task.status.state is TaskState.RUNNING and is_wanted(task) and bool(task.status.address)


def _is_up(reader: Reader, task: Task) -> bool:
    node = reader.get(Node, task.node_id)
    return node is not None and node.state is not NodeState.DOWN
