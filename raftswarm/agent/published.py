"""Which ports this node's proxy serves: those of the whole swarm, and those of the tasks that run here in host mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import Backend, Route


def host_routes(tasks: Iterable[Task]) -> tuple[Route, ...]:
    """Return routes for the host-mode ports of running tasks: each leads to its own task only."""
    return tuple(
        Route(
            service_id=task.service_id,
            port=port,
            backends=(Backend(task_id=task.id, address=task.status.address, node_id=task.node_id),),
        )
        for task in tasks
        if task.status.state is TaskState.RUNNING
        for port in task.status.ports
        if port.published_port
    )


class PublishedPorts:
    """Joins the two and passes on what changed."""

    def __init__(self, set_routes: Callable[[tuple[Route, ...]], None]) -> None:
        self._set_routes = set_routes
        self._swarm: tuple[Route, ...] = ()
        self._own: tuple[Route, ...] = ()

    def set_swarm_routes(self, routes: tuple[Route, ...]) -> None:
        """Take the routes that the managers sent."""
        if routes != self._swarm:
            self._swarm = routes
            self._set_routes(self._swarm + self._own)

    def set_tasks(self, tasks: Iterable[Task]) -> None:
        """Take the tasks of this node as they are now."""
        own = host_routes(tasks)
        if own != self._own:
            self._own = own
            self._set_routes(self._swarm + self._own)
