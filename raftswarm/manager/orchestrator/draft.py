"""A plan in the making: one service with its slots, changed step by step and compared with what was at the end.

A slot is one place of a service: a number for replicated services, a node for global ones (SWARM 2.2). It holds the
task that fills it, those that came before, and for a while the one that comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import attrs
from msgspec import structs

from raftswarm.manager.orchestrator.actions import ChangeSlot
from raftswarm.manager.orchestrator.attempts import may_restart
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import is_job
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import age, is_dirty, is_wanted, may_run, new_task
from raftswarm.world.slices import Slices

SlotKey: TypeAlias = int | str
"""A slot's number, or the id of its node."""


@attrs.define(eq=False)
class Draft:
    """The slots of a service as the plan so far would leave them; what planners read and change."""

    service: Service
    nodes: Mapping[str, Node]
    now: int
    slots: dict[SlotKey, list[Task]]
    """Each from the oldest to the newest; none is empty."""
    wake_at: int | None = None
    """When time alone will change the plan."""
    _waiting_since: Mapping[str, int] = attrs.field(kw_only=True, alias="waiting_since")
    _before: Mapping[str, TaskState] = attrs.field(kw_only=True, alias="before")
    _new_id: Callable[[], str] = attrs.field(kw_only=True, alias="new_id")

    @classmethod
    def begin(
        cls,
        service: Service,
        tasks: Iterable[Task],
        nodes: Mapping[str, Node],
        *,
        now: int,
        waiting_since: Mapping[str, int],
        new_id: Callable[[], str],
    ) -> Slices[Draft]:
        """Start from what is stored."""
        slots: dict[SlotKey, list[Task]] = {}
        before = {}
        for task in tasks:
            slots.setdefault(slot_of(task), []).append(task)
            before[task.id] = task.desired_state
            yield
        ordered: dict[SlotKey, list[Task]] = {}
        for key in sorted(slots, key=slot_order):
            ordered[key] = sorted(slots[key], key=age)
            yield
        return cls(service, nodes, now, ordered, waiting_since=waiting_since, before=before, new_id=new_id)

    @property
    def goal(self) -> TaskState:
        """What its tasks are wanted to reach: a job's come to an end."""
        return TaskState.COMPLETE if is_job(self.service.spec.mode) else TaskState.RUNNING

    def updatable(self, key: SlotKey) -> list[Task]:
        """The tasks that fill a slot; none if it is free (SWARM 2.2).

        A task that has ended for good, by its restart policy, fills its slot until the spec changes.
        """
        slot = self.slots.get(key, [])
        wanted = [task for task in slot if is_wanted(task)]
        if wanted or not slot:
            return wanted
        newest = slot[-1]
        ended_for_good = newest.desired_state < TaskState.REMOVE and not may_restart(newest, slot)
        return [newest] if ended_for_good else []

    def is_dirty(self, task: Task) -> bool:
        """Tell whether the spec has moved on from the task."""
        return is_dirty(task, self.service, self.node_of(task))

    def node_of(self, task: Task) -> Node | None:
        """Where it is, if that still exists."""
        return self.nodes.get(task.node_id)

    def may_run(self, task: Task) -> bool:
        """Tell whether a process of it may exist."""
        return may_run(task, self.node_of(task))

    def waiting_since(self, task: Task) -> int:
        """When it began to wait for its start, as this leader knows it."""
        return self._waiting_since.get(task.id, self.now)

    def all_waiting_since(self) -> dict[str, int]:
        """The same for all that wait; others are forgotten."""
        return {
            task.id: self.waiting_since(task)
            for slot in self.slots.values()
            for task in slot
            if task.desired_state is TaskState.READY
        }

    def was_wanted(self, task: Task) -> bool:
        """Tell whether the records still want it to run: nobody has reacted to its end yet."""
        return self._before.get(task.id, TaskState.REMOVE) <= TaskState.COMPLETE

    def add(self, key: SlotKey, desired_state: TaskState) -> None:
        """Put a new task into a slot."""
        slot, node_id = (key, "") if isinstance(key, int) else (0, key)
        task = new_task(
            self.service,
            task_id=self._new_id(),
            now=self.now,
            slot=slot,
            node_id=node_id,
            desired_state=desired_state,
        )
        self.slots.setdefault(key, []).append(task)

    def fill(self, key: SlotKey) -> None:
        """Put a new task into a free slot; it waits while one that is to stop may still run there."""
        waits = any(self.may_run(task) for task in self.slots.get(key, ()))
        self.add(key, TaskState.READY if waits else self.goal)

    def raise_desired(self, key: SlotKey, task: Task, state: TaskState) -> None:
        """Want something later of a task; desired states never go down."""
        if task.desired_state < state:
            slot = self.slots[key]
            slot[slot.index(task)] = structs.replace(task, desired_state=state)

    def retire(self, key: SlotKey, tasks: Iterable[Task], state: TaskState = TaskState.SHUTDOWN) -> None:
        """Want tasks to end; those that only this plan has added are not made at all."""
        for task in list(tasks):
            if task.id in self._before:
                self.raise_desired(key, task, state)
            else:
                self.slots[key].remove(task)

    def wake(self, moment: int) -> None:
        """Ask for another plan then."""
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)

    def changes(self) -> Slices[list[ChangeSlot]]:
        """What has to be written, slot by slot."""
        changes = []
        for slot in self.slots.values():
            yield
            created = tuple(task for task in slot if task.id not in self._before)
            raised = tuple(
                (task.id, task.desired_state)
                for task in slot
                if task.id in self._before and task.desired_state != self._before[task.id]
            )
            if created or raised:
                changes.append(ChangeSlot(self.service.id, self.service.spec_version, raised, created))
        return changes


def slot_of(task: Task) -> SlotKey:
    """The slot a task belongs to."""
    return task.slot or task.node_id


def slot_order(key: SlotKey) -> tuple[int, str]:
    """Sorts slots by number, or by node."""
    return (key, "") if isinstance(key, int) else (0, key)
