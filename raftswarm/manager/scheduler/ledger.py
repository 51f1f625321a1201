"""What stands on each node: the scheduler's own view of tasks and nodes, kept up to date change by change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from raftswarm.objects import defaults
from raftswarm.objects.records import Node, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import holds_resources, is_active, reservations
from raftswarm.world.slices import Slices

FAILURE_WINDOW: Final = 5 * 60 * defaults.SECOND
FAULTY: Final = 5
"""So many recent failures of one spec make a node the last choice for it (SWARM 5.3)."""

Port: TypeAlias = tuple[str, int]
"""Protocol and number."""
SpecKey: TypeAlias = tuple[str, int]
"""A service's id and the version of its spec."""


def host_ports(task: Task) -> list[Port]:
    """The ports the task takes on its node; 0 is chosen there and never conflicts."""
    ports = task.endpoint.ports if task.endpoint is not None else ()
    return [
        (port.protocol, port.published_port) for port in ports if port.publish_mode == "host" and port.published_port
    ]


@attrs.define(eq=False)
class NodeLoad:
    """A node and what its tasks use."""

    node: Node
    nano_cpus: int = 0
    memory_bytes: int = 0
    active: int = 0
    active_by_service: Counter[str] = attrs.field(factory=Counter)
    ports: Counter[Port] = attrs.field(factory=Counter)

    def copy(self) -> NodeLoad:
        """One to try things on."""
        return NodeLoad(
            self.node,
            self.nano_cpus,
            self.memory_bytes,
            self.active,
            self.active_by_service.copy(),
            self.ports.copy(),
        )

    def add(self, task: Task, times: int = 1) -> None:
        """Count a task; -1 times takes it away again."""
        reserved = reservations(task)
        self.nano_cpus += times * reserved.nano_cpus
        self.memory_bytes += times * reserved.memory_bytes
        for port in host_ports(task):
            self.ports[port] += times
        if is_active(task):
            self.active += times
            self.active_by_service[task.service_id] += times


@attrs.define(eq=False)
class Ledger:
    """All nodes with their loads, and the tasks that wait for a node. Any change may be noted twice, or late."""

    loads: dict[str, NodeLoad] = attrs.field(factory=dict)
    pending: dict[str, Task] = attrs.field(factory=dict)
    _placed: dict[str, Task] = attrs.field(factory=dict)
    _failures: dict[tuple[str, SpecKey], list[int]] = attrs.field(factory=dict)

    @classmethod
    def read(cls, nodes: Iterable[Node], tasks: Iterable[Task]) -> Slices[Ledger]:
        """Begin with what is stored."""
        ledger = cls()
        for node in nodes:
            yield
            ledger.note_node(node)
        for task in tasks:
            yield
            ledger.note_task(task.id, task)
        return ledger

    def note_node(self, node: Node) -> None:
        """A node is there or has changed."""
        load = self.loads.get(node.id)
        if load is not None:
            load.node = node
            return
        self.loads[node.id] = load = NodeLoad(node)
        for task in self._placed.values():
            if task.node_id == node.id:
                load.add(task)

    def forget_node(self, node_id: str) -> None:
        """A node is gone."""
        self.loads.pop(node_id, None)
        for key in [key for key in self._failures if key[0] == node_id]:
            del self._failures[key]

    def note_task(self, task_id: str, task: Task | None) -> None:
        """A task is there, has changed, or (None) is gone."""
        known = self._placed.pop(task_id, None)
        if known is not None and known.node_id in self.loads:
            self.loads[known.node_id].add(known, -1)
        self.pending.pop(task_id, None)
        if task is None:
            return
        if task.status.state is TaskState.PENDING:
            self.pending[task_id] = task
        elif holds_resources(task):
            self._placed[task_id] = task
            if task.node_id in self.loads:
                self.loads[task.node_id].add(task)

    def note_failure(self, task: Task, now: int) -> None:
        """A task failed where the scheduler had put it."""
        times = self._failures.setdefault((task.node_id, spec_key(task)), [])
        times[:] = [*recent(times, now), now]

    def failures(self, now: int) -> Mapping[tuple[str, SpecKey], int]:
        """How often each spec failed lately on each node."""
        return {key: sum(1 for _ in recent(times, now)) for key, times in self._failures.items()}


def recent(times: Iterable[int], now: int) -> Iterator[int]:
    """Those that still count."""
    return (moment for moment in times if moment > now - FAILURE_WINDOW)


def spec_key(task: Task) -> SpecKey:
    """What tasks made from one spec share."""
    return task.service_id, task.spec_version
