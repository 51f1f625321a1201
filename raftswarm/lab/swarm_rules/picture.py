"""What rules look at: one applied command, the tables it left, and the little of the past that the tables do not say.

The picture is kept up to date change by change, so that a rule's work depends on what changed and on its slot or node,
hardly ever on the size of the swarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import attrs

from raftswarm.objects.records import AnyObject, Cluster, Node, Object, Service, Task
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import age, holds_resources, is_wanted
from raftswarm.store.contracts import Change, Reader

T = TypeVar("T", bound=Object)
T_key = TypeVar("T_key")
T_subject = TypeVar("T_subject")

SlotId: TypeAlias = tuple[str, int | str]
"""A service's id and one of its slots: a number, or the node of a global service."""

LATELY: Final = 20
"""Commands. A loop plans on one state and writes into a later one: what held so few commands ago may be its reason."""
DEFAULT_HISTORY: Final = 5
ROUNDING: Final = 1_000_000
"""Nanoseconds by which two readings of one clock may differ."""
TABLES: Final = (Cluster, Node, Service, Task)


@attrs.frozen
class Rule(Generic[T_subject]):
    """Something that must hold."""

    number: int
    name: str
    check: Callable[[T_subject], Iterator[str]]
    """Says what breaks it, in a sentence each."""


@attrs.frozen(eq=False)
class Step:
    """One command: what it changed, and the picture behind it."""

    index: int
    changes: Sequence[Change]
    picture: Picture

    def pairs(self, table: type[T]) -> Iterator[tuple[T | None, T | None]]:
        """Before and after of each object of one table that it touched."""
        for change in self.changes:
            if isinstance(change.object, table):
                yield cast("T | None", change.before), cast("T | None", change.after)

    def born(self, table: type[T]) -> Iterator[T]:
        """What it made."""
        return (after for before, after in self.pairs(table) if before is None and after is not None)

    def died(self, table: type[T]) -> Iterator[T]:
        """What it removed."""
        return (before for before, after in self.pairs(table) if before is not None and after is None)

    def changed(self, table: type[T]) -> Iterator[tuple[T, T]]:
        """What it replaced."""
        return ((before, after) for before, after in self.pairs(table) if before is not None and after is not None)

    def retired(self) -> Iterator[Task]:
        """The tasks that were wanted until now, as they are now."""
        return (after for before, after in self.changed(Task) if is_wanted(before) and not is_wanted(after))


@attrs.define(eq=False)
class Begun:
    """A slot that an update has taken on."""

    index: int
    """Of the command that did."""
    planned_at: int
    replaces: frozenset[str] = frozenset()
    """Ids of the tasks that could have gone on."""
    reached_at: int | None = None
    """When the first task of the new spec was seen to run there, or to have ended."""


@attrs.define(eq=False)
class Picture:
    """The tables as the last command left them."""

    tables: dict[type[Object], dict[str, Any]] = attrs.field(factory=lambda: {table: {} for table in TABLES})
    slots: dict[SlotId, dict[str, Task]] = attrs.field(factory=dict)
    placed: dict[str, dict[str, Task]] = attrs.field(factory=dict)
    """By node, the tasks that hold resources there."""
    clocks_are_true: bool = True
    """False where wall clocks jump: then times in records prove nothing."""
    index: int = 0
    """Of the last command."""
    time: int = 0
    """Of the last command, by its leader."""

    # The past.
    deleted: set[tuple[str, str]] = attrs.field(factory=set)
    """Kind and id of all that is gone."""
    planned_at: dict[str, int] = attrs.field(factory=dict)
    """By task: when a leader decided to make it."""
    born_with: dict[str, int] = attrs.field(factory=dict)
    """By task: the command that made it."""
    begun: dict[str, dict[int | str, Begun]] = attrs.field(factory=dict)
    """By service: the slots that the update to its present spec has taken on."""
    history_limits: tuple[int, int] = (DEFAULT_HISTORY, DEFAULT_HISTORY)
    """The one in force, and the one before."""
    _unfit_until: dict[str, int] = attrs.field(factory=dict)
    _down_until: dict[str, int] = attrs.field(factory=dict)
    _node_changed: dict[str, int] = attrs.field(factory=dict)

    @classmethod
    def before(cls, index: int, changes: Sequence[Change], tables: Reader, *, clocks_are_true: bool = True) -> Picture:
        """Begin in the middle of a swarm's life, just before a command."""
        picture = cls(clocks_are_true=clocks_are_true)
        for table in TABLES:
            for stored in tables.find(table):
                picture._put(table, stored.id, stored)
        for change in changes:
            picture._put(type(change.object), change.object.id, change.before)
        picture.history_limits = (picture._history_limit(), picture._history_limit())
        for node_id in picture.nodes:  # Whatever they were a moment ago.
            picture._unfit_until[node_id] = picture._down_until[node_id] = picture._node_changed[node_id] = index
        return picture

    def follow(self, index: int, changes: Sequence[Change]) -> Step:
        """Take in a command."""
        self.index = index
        for change in changes:
            self._put(type(change.object), change.object.id, change.after)
            if change.after is not None:
                self.time = max(self.time, change.after.updated_at)
        step = Step(index, changes, self)
        self._remember(step)
        return step

    # Questions.

    @property
    def cluster(self) -> Cluster | None:
        """The first of them; rules see to it that there is no other."""
        return next(iter(self.tables[Cluster].values()), None)

    @property
    def nodes(self) -> dict[str, Node]:
        """By id."""
        return self.tables[Node]

    @property
    def services(self) -> dict[str, Service]:
        """By id."""
        return self.tables[Service]

    @property
    def tasks(self) -> dict[str, Task]:
        """By id."""
        return self.tables[Task]

    def has_come(self, moment_ns: int) -> bool:
        """Tell whether it is that late, as far as clocks can tell."""
        return not self.clocks_are_true or self.time + ROUNDING >= moment_ns

    def knows(self, change: Change) -> bool:
        """Tell whether a change begins where the commands so far had led."""
        known = self.tables[type(change.object)].get(change.object.id)
        return known is change.before or (
            known is not None and change.before is not None and known.version == change.before.version
        )

    def slot(self, task: Task) -> list[Task]:
        """All records of a task's slot, from the oldest to the newest."""
        return sorted(self.slots.get(slot_of(task), {}).values(), key=age)

    def others(self, task: Task) -> list[Task]:
        """The same without the task itself."""
        return [other for other in self.slot(task) if other.id != task.id]

    def could_host(self, node_id: str) -> bool:
        """Tell whether a node can host tasks, and could whenever a plan that is written now may have been made."""
        return hosts(self.nodes.get(node_id)) and not self._is_recent(self._unfit_until.get(node_id))

    def is_steady(self, node_id: str) -> bool:
        """Tell whether a node is as it was whenever a plan that is written now may have been made."""
        return not self._is_recent(self._node_changed.get(node_id))

    def has_changed_since(self, node_id: str, index: int) -> bool:
        """Tell whether a command from that one on has changed a node."""
        return self._node_changed.get(node_id, 0) >= index

    def was_given_up_since(self, node_id: str, index: int) -> bool:
        """Tell whether managers have counted a node's processes as gone at some time since that command."""
        node = self.nodes.get(node_id)
        return node is None or node.state is NodeState.DOWN or self._down_until.get(node_id, 0) >= index

    def _is_recent(self, index: int | None) -> bool:
        return index is not None and index > self.index - LATELY

    # Keeping it up to date.

    def _put(self, table: type[Object], object_id: str, stored: AnyObject | Object | None) -> None:
        if table is Task:
            known = self.tasks.get(object_id)
            if known is not None:
                _drop(self.slots, slot_of(known), object_id)
                _drop(self.placed, known.node_id, object_id)
        if stored is None:
            self.tables[table].pop(object_id, None)
            return
        self.tables[table][object_id] = stored
        if isinstance(stored, Task):
            self.slots.setdefault(slot_of(stored), {})[object_id] = stored
            if holds_resources(stored):
                self.placed.setdefault(stored.node_id, {})[object_id] = stored

    def _remember(self, step: Step) -> None:
        for change in step.changes:
            if change.after is None:
                self.deleted.add((change.object.kind, change.object.id))
        for before, after in step.pairs(Node):
            node = after or before
            assert node is not None, "a change is of something"
            self._node_changed[node.id] = step.index
            if not hosts(before):
                self._unfit_until[node.id] = step.index
            if before is None or before.state is NodeState.DOWN:
                self._down_until[node.id] = step.index
        for task in step.born(Task):
            self.planned_at[task.id] = task.status.timestamp
            self.born_with[task.id] = step.index
        for task in step.died(Task):
            self.planned_at.pop(task.id, None)
            self.born_with.pop(task.id, None)
        if self._history_limit() != self.history_limits[0]:
            self.history_limits = (self._history_limit(), self.history_limits[0])

    def _history_limit(self) -> int:
        limit = self.cluster.spec.orchestration.task_history_retention_limit if self.cluster is not None else None
        return DEFAULT_HISTORY if limit is None else limit


def hosts(node: Node | None) -> bool:
    """Tell whether tasks may stay on a node; read here anew, since what loops make of it is what rules judge."""
    return node is not None and node.state is not NodeState.DOWN and node.spec.availability != "drain"


def is_global(service: Service) -> bool:
    """Tell whether its slots are nodes."""
    return service.spec.mode.global_ is not None or service.spec.mode.global_job is not None


def run_of(service: Service) -> int | None:
    """The run that a job is in; None of services that run for ever, as of their tasks."""
    return service.job_status.iteration if service.job_status is not None else None


def is_done(task: Task) -> bool:
    """Tell whether it is one of a job, and has come to its end as it should; its record is wanted from then on."""
    return task.job_iteration is not None and task.status.state is TaskState.COMPLETE


def is_completion(task: Task, service: Service) -> bool:
    """Tell whether it is what a job has done in its present run."""
    return is_done(task) and task.job_iteration == run_of(service)


def is_let_run(task: Task) -> bool:
    """Tell whether it may begin now: one of a job is wanted to its end, others for ever."""
    return task.desired_state in {TaskState.RUNNING, TaskState.COMPLETE}


def is_alike(one: Task, other: Task) -> bool:
    """Tell whether two tasks are of one spec and one run: then one of them may be a restart of the other."""
    return (one.spec_version, one.job_iteration) == (other.spec_version, other.job_iteration)


def slot_of(task: Task) -> SlotId:
    """The slot a task belongs to."""
    return task.service_id, task.slot or task.node_id


def tell(task: Task) -> str:
    """Name a task in a sentence."""
    where = f", on node {task.node_id}" if task.slot and task.node_id else ""
    return (
        f"task {task.id} of service {task.service_name} ({task.service_id}), slot {task.slot or task.node_id}{where}, "
        f"desired {task.desired_state.name}, observed {task.status.state.name},"
    )


def _drop(index: dict[T_key, dict[str, Task]], key: T_key, task_id: str) -> None:
    listed = index.get(key)
    if listed is not None:
        listed.pop(task_id, None)
        if not listed:
            del index[key]
