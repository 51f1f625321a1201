"""Applies assignments: one task manager per task, each task on record before it begins (SWARM 8.2).

What is on record goes on at the start, before any manager is reached. What was observed here wins over what managers
remember of it; what they no longer name is stopped and removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from raftswarm.agent.executors.executor import Executor
from raftswarm.agent.record import TaskRecords, is_task_id
from raftswarm.agent.task import TaskManager
from raftswarm.objects.records import NodeDescription, Task, TaskStatus
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import Assignments
from raftswarm.world.clock import WallClock

logger = logging.getLogger("raftswarm.agent")


def _nobody(tasks: tuple[Task, ...]) -> None:
    """Nobody asked."""


class Worker:
    """Owns the tasks of this node. `run` must be running."""

    def __init__(
        self,
        executor: Executor,
        records: TaskRecords,
        wall_clock: WallClock,
        tasks_changed: Callable[[tuple[Task, ...]], None] = _nobody,
    ) -> None:
        """`tasks_changed` is given all tasks when one with host-mode ports has changed or is gone."""
        self._executor = executor
        self._records = records
        self._wall_clock = wall_clock
        self._tasks_changed = tasks_changed
        self._managers: dict[str, TaskManager] = {}
        self._unreported: dict[str, TaskStatus] = {}
        self._something_to_report = trio.Event()
        self._one_less = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks of this node, as they are now."""
        return tuple(manager.task for manager in self._managers.values())

    def describe(self) -> NodeDescription:
        """This machine, as the executor sees it."""
        return self._executor.describe()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with what is on record, then serve until cancelled; the tasks themselves outlive that."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            tasks = await self._records.load()
            await self._executor.recover(tasks)
            for task in tasks:
                self._begin(task)
            task_status.started()
            await trio.sleep_forever()

    async def assign(self, assignments: Assignments) -> None:
        """Do what managers want; returns when it is on record. StorageError when it cannot be."""
        new: list[Task] = []
        for task in assignments.tasks:
            if not is_task_id(task.id):
                logger.warning("ignored an assignment: %r is no task id", task.id)
            elif (manager := self._managers.get(task.id)) is not None:
                manager.update(task)
            else:
                new.append(task)
        named = {task.id for task in assignments.tasks}
        removed = self._managers.keys() - named if assignments.complete else frozenset(assignments.removed)
        for task_id, manager in self._managers.items():
            if task_id in removed:
                manager.retire()
        for task in new:
            self._records.put(task)
        with trio.CancelScope(shield=True):  # What is on record begins, or the next life would begin it alone.
            await self._records.flush()
        for task in new:
            self._begin(task)

    async def stop_all(self) -> None:
        """Stop and remove every task; returns when they are gone."""
        for manager in self._managers.values():
            manager.retire()
        while self._managers:
            self._one_less = trio.Event()
            await self._one_less.wait()

    # Reports: the latest status per task waits to be taken.

    def report_everything(self) -> None:
        """A new session: managers hear of every task again, whatever of earlier reports was lost."""
        for manager in self._managers.values():
            if manager.task.status.state > TaskState.ASSIGNED:
                self._want_reported(manager.task)

    async def take_statuses(self, limit: int) -> dict[str, TaskStatus]:
        """Wait until there is something to report; return at most `limit` of it, the oldest first."""
        while not self._unreported:
            self._something_to_report = trio.Event()
            await self._something_to_report.wait()
        taken = [*self._unreported][:limit]
        return {task_id: self._unreported.pop(task_id) for task_id in taken}

    # Particulars.

    def _begin(self, task: Task) -> None:
        assert self._nursery is not None, "assignments come while the worker runs"
        if task.id in self._managers:
            return
        manager = TaskManager(task, self._executor, self._wall_clock, self._note, self._records.flush)
        self._managers[task.id] = manager
        self._nursery.start_soon(self._manage, manager)

    async def _manage(self, manager: TaskManager) -> None:
        await manager.run()
        task_id = manager.task.id
        self._records.forget(task_id)
        del self._managers[task_id]
        self._unreported.pop(task_id, None)
        if manager.task.status.ports:
            self._tasks_changed(self.tasks)
        self._one_less.set()

    def _note(self, task: Task) -> None:
        self._records.put(task)
        self._want_reported(task)
        if task.status.ports:
            self._tasks_changed(self.tasks)

    def _want_reported(self, task: Task) -> None:
        self._unreported[task.id] = task.status
        self._something_to_report.set()
