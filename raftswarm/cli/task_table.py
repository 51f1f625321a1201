"""Tasks as ``service ps`` and ``node ps`` list them: newest first in each slot, the older ones set off below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raftswarm.api.errors import ApiError
from raftswarm.api.tasks import TaskJson
from raftswarm.cli.tables import print_rows
from raftswarm.cli.words import capitalize, describe_age, natural
from raftswarm.client import EngineClient

COLUMNS: Final = {
    "ID": "ID",
    "Name": "NAME",
    "Image": "IMAGE",
    "Node": "NODE",
    "DesiredState": "DESIRED STATE",
    "CurrentState": "CURRENT STATE",
    "Error": "ERROR",
    "Ports": "PORTS",
}
_ERROR_WIDTH: Final = 30


class Names:
    """Names of services and nodes by id, each asked for once; the id where there is no name any more."""

    def __init__(self, engine: EngineClient, *, resolve: bool = True) -> None:
        """Know no names yet."""
        self._engine = engine
        self._resolve = resolve
        self._services: dict[str, str] = {}
        self._nodes: dict[str, str] = {}

    async def service(self, service_id: str) -> str:
        """Return a service's name."""
        if service_id not in self._services:
            self._services[service_id] = service_id
            if self._resolve:
                try:
                    self._services[service_id] = (await self._engine.service(service_id)).spec.name
                except ApiError as error:
                    _raise_unless_gone(error)
        return self._services[service_id]

    async def node(self, node_id: str) -> str:
        """Return a node's host name; empty while a task has no node."""
        if node_id and node_id not in self._nodes:
            self._nodes[node_id] = node_id
            if self._resolve:
                try:
                    self._nodes[node_id] = (await self._engine.node(node_id)).hostname or node_id
                except ApiError as error:
                    _raise_unless_gone(error)
        return self._nodes.get(node_id, "")


def _raise_unless_gone(error: ApiError) -> None:
    if error.status != 404:
        raise error


async def print_tasks(
    tasks: Iterable[TaskJson],
    names: Names,
    *,
    no_trunc: bool = False,
    quiet: bool = False,
    format_: str | None = None,
) -> None:
    """Print tasks, sorted by name and then newest first."""
    named = [(await _task_name(task, names), task) for task in tasks]
    named.sort(key=lambda pair: pair[1].created_at, reverse=True)
    named.sort(key=lambda pair: natural(pair[0]))
    rows = []
    previous = ""
    for name, task in named:
        shown_name = f" \\_ {name}" if name == previous and format_ is None else name
        previous = name
        rows.append(await _row(task, shown_name, names, no_trunc=no_trunc))
    print_rows(rows, COLUMNS, format_=format_, quiet="ID" if quiet else None)


async def _task_name(task: TaskJson, names: Names) -> str:
    service = await names.service(task.service_id) if task.service_id else task.id
    return f"{service}.{task.slot or task.node_id}"


async def _row(task: TaskJson, name: str, names: Names, *, no_trunc: bool) -> dict[str, str]:
    container = task.spec.container_spec
    return {
        "ID": task.id if no_trunc else task.id[:12],
        "Name": name,
        "Image": _shorten_image(container.image if container else "", no_trunc=no_trunc),
        "Node": await names.node(task.node_id),
        "DesiredState": capitalize(task.desired_state),
        "CurrentState": f"{capitalize(task.status.state)} {describe_age(task.status.timestamp).lower()}",
        "Error": _quote_error(task.status.err, no_trunc=no_trunc),
        "Ports": _ports(task),
    }


def _shorten_image(image: str, *, no_trunc: bool) -> str:
    return image if no_trunc else image.partition("@")[0]


def _quote_error(error: str, *, no_trunc: bool) -> str:
    if not error:
        return ""
    if not no_trunc and len(error) > _ERROR_WIDTH:
        error = error[: _ERROR_WIDTH - 1] + "…"
    return f'"{error}"'


def _ports(task: TaskJson) -> str:
    ports = task.status.port_status.ports
    return ",".join(f"*:{port.published_port}->{port.target_port}/{port.protocol}" for port in ports)
