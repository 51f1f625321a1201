"""The task reaper: keeps each slot's history short and forgets tasks that are to be removed (SWARM 4.10)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Final

import attrs
import trio

from raftswarm.manager.loops import Tables, keep_serving, write_actions
from raftswarm.manager.orchestrator.actions import DeleteTask
from raftswarm.manager.orchestrator.draft import SlotKey, slot_of
from raftswarm.manager.orchestrator.updater import is_under_way
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import age, belongs_to_run, is_job_done, is_wanted
from raftswarm.store.contracts import Change, Watch, Writes
from raftswarm.world.slices import Slices, run_sliced

BATCH_SECONDS: Final = 0.25
BATCH_SLOTS: Final = 1000
DEFAULT_LIMIT: Final = 5

Slot = tuple[str, SlotKey]
"""A service's id and one of its slots."""


def plan_reaping(
    slot: Sequence[Task], service: Service | None, *, node_ids: Container[str], history_limit: int
) -> list[DeleteTask]:
    """Forget what is to be removed and has stopped, then the oldest ended tasks beyond the limit."""
    forgotten = [task for task in slot if _can_be_forgotten(task, service, node_ids)]
    rest = [task for task in slot if task not in forgotten]
    if service is not None and rest:
        forgotten += _beyond_limit(rest, service, history_limit)
    return [DeleteTask(task.id) for task in forgotten]


def _can_be_forgotten(task: Task, service: Service | None, node_ids: Container[str]) -> bool:
    if task.desired_state is TaskState.REMOVE:
        # Of a task that has no node, or whose node is gone, nobody will ever report an end.
        is_placed = task.status.state >= TaskState.ASSIGNED and task.node_id in node_ids
        return task.status.state.is_terminal or not is_placed
    return task.status.state is TaskState.ORPHANED and service is None


def _beyond_limit(slot: Sequence[Task], service: Service, limit: int) -> list[Task]:
    newest = max(slot, key=age)
    attempts = restart_rule(newest.spec).max_attempts
    if attempts:
        limit = attempts + 1  # The restart supervisor counts attempts in the records.
    if limit < 0:
        return []
    if newest.desired_state is TaskState.READY or is_under_way(service):
        limit = max(limit, 2)  # Delays and updates ask for the task before the newest.
    if is_under_way(service):
        slot = _without_last_of_another_spec(slot, service)
    ended = sorted(
        (task for task in slot if _has_ended(task) and not _counts(task, service)),
        key=lambda task: (task is newest, _end(task)),
    )
    return ended[: max(0, len(slot) - limit)]


def _counts(task: Task, service: Service) -> bool:
    """Tell whether it is a completion of a job's current run: without its record it would be run again."""
    return is_job_done(task) and belongs_to_run(task, service)


def _without_last_of_another_spec(slot: Sequence[Task], service: Service) -> Sequence[Task]:
    """An update knows by that record which slots it has begun; it stays, and counts for nothing."""
    others = [task for task in slot if task.spec_version != service.spec_version]
    last = max(others, key=age, default=None)
    return [task for task in slot if task is not last]


def _has_ended(task: Task) -> bool:
    never_placed = task.status.state < TaskState.ASSIGNED and not is_wanted(task)
    return task.status.state.is_terminal or never_placed


def _end(task: Task) -> tuple[int, int, int, str]:
    return (task.status.applied_at or task.status.timestamp, *age(task))


@attrs.define(eq=False)
class Reaper:
    """Looks at slots in which a task was made, ended or is to be removed, a moment after it happened."""

    _store: Tables
    _writes: Writes

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        with self._store.watch(Task, Service, Node) as watch:
            dirty: dict[Slot, None] = {}
            await run_sliced(self._note_tasks(self._store.find(Task), dirty))
            while True:
                await write_actions(self._writes, await run_sliced(self._plan(dirty)))
                dirty = await self._next_dirty(watch)

    def _plan(self, dirty: Iterable[Slot]) -> Slices[list[DeleteTask]]:
        node_ids = {node.id for node in self._store.find(Node)}
        limit = self._history_limit()
        service_ids = dict.fromkeys(service_id for service_id, _ in dirty)
        services = {service_id: self._store.get(Service, service_id) for service_id in service_ids}
        tasks_of = [self._store.tasks_of_service(service_id) for service_id in services]
        slots: dict[Slot, list[Task]] = {}
        for slot in dirty:
            yield
            slots[slot] = []
        for tasks in tasks_of:
            for task in tasks:
                yield
                if (slot := _slot(task)) in slots:
                    slots[slot].append(task)
        actions: list[DeleteTask] = []
        for (service_id, _), history in slots.items():
            yield
            actions += plan_reaping(history, services[service_id], node_ids=node_ids, history_limit=limit)
        return actions

    async def _next_dirty(self, watch: Watch) -> dict[Slot, None]:
        dirty: dict[Slot, None] = {}
        while not dirty:
            await run_sliced(self._note(await watch.next(), dirty))
        batch_ends = trio.current_time() + BATCH_SECONDS
        while len(dirty) < BATCH_SLOTS:
            changes: Sequence[Change] = ()
            with trio.move_on_at(batch_ends):
                changes = await watch.next()
            if not changes:
                break
            await run_sliced(self._note(changes, dirty))
        return dirty

    def _note(self, changes: Iterable[Change], dirty: dict[Slot, None]) -> Slices[None]:
        for change in changes:
            yield
            match change.before, change.after:
                case Task() | None, Task() as task if _is_relevant(change.before, task):
                    dirty[_slot(task)] = None
                case Service() as service, after if is_under_way(service) and not _is_under_way(after):
                    yield from self._note_tasks(self._store.tasks_of_service(service.id), dirty)
                case Node() as node, None:
                    yield from self._note_tasks(self._store.tasks_of_node(node.id), dirty)
                case _:
                    pass

    def _note_tasks(self, tasks: Iterable[Task], dirty: dict[Slot, None]) -> Slices[None]:
        for task in tasks:
            yield
            dirty[_slot(task)] = None

    def _history_limit(self) -> int:
        cluster = self._store.cluster
        limit = cluster.spec.orchestration.task_history_retention_limit if cluster is not None else None
        return DEFAULT_LIMIT if limit is None else limit


def _slot(task: Task) -> Slot:
    return task.service_id, slot_of(task)


def _is_relevant(before: object, task: Task) -> bool:
    return not isinstance(before, Task) or (
        (task.status.state.is_terminal, task.desired_state) != (before.status.state.is_terminal, before.desired_state)
    )


def _is_under_way(service: object) -> bool:
    return isinstance(service, Service) and is_under_way(service)
