"""The allocator's loop: whatever is new gets what it needs before it can be scheduled."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
import trio

from raftswarm.manager.allocator.planner import plan_allocation
from raftswarm.manager.allocator.ports import is_allocated
from raftswarm.manager.loops import SteadyClock, Tables, keep_serving, write_actions
from raftswarm.objects.records import Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.store.contracts import Change, Watch, Writes
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices, run_sliced

RETRY_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class Allocator:
    """Gives ports to services and lets their tasks go on to the scheduler. Runs on the leader."""

    _store: Tables
    _writes: Writes
    _wall: WallClock

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        clock = SteadyClock.start(self._wall)
        latest_ports: Mapping[str, int] = {}
        refused: Mapping[str, str] = {}
        with self._store.watch(Service, Task) as watch:
            new_tasks = {task.id: None for task in self._store.find(Task)}
            while True:
                tasks = await run_sliced(self._new_among(new_tasks))
                plan = await run_sliced(
                    plan_allocation(self._store.find(Service), tasks, latest_ports, now=clock.now_ns())
                )
                for service_id, reason in plan.refused.items():
                    if refused.get(service_id) != reason:
                        logger.warning("service %s waits for its ports: %s", service_id, reason)
                refused, latest_ports = plan.refused, plan.latest_ports
                await write_actions(self._writes, plan.actions)
                waiting = await run_sliced(self._new_among(task.id for task in tasks))
                new_tasks = {task.id: None for task in waiting}
                await self._wait_for_work(watch, new_tasks, retry=bool(refused))

    def _new_among(self, task_ids: Iterable[str]) -> Slices[list[Task]]:
        tasks: list[Task] = []
        for task_id in task_ids:
            yield
            task = self._store.get(Task, task_id)
            if task is not None and task.status.state is TaskState.NEW:
                tasks.append(task)
        return tasks

    async def _wait_for_work(self, watch: Watch, new_tasks: dict[str, None], *, retry: bool) -> None:
        retry_at = trio.current_time() + RETRY_SECONDS if retry else float("inf")
        matters = False
        while not matters:
            changes: Sequence[Change] = ()
            with trio.move_on_at(retry_at):
                changes = await watch.next()
            if not changes:
                return
            matters = await run_sliced(self._note(changes, new_tasks, retry=retry))

    def _note(self, changes: Iterable[Change], new_tasks: dict[str, None], *, retry: bool) -> Slices[bool]:
        matters = False
        for change in changes:
            yield
            match change.after:
                case Task() as task if task.status.state is TaskState.NEW:
                    new_tasks[task.id] = None
                    matters = True
                case Service() as service:
                    matters |= not is_allocated(service)
                case _:
                    pass
            # Whatever a service gives back may be what another waits for.
            matters |= retry and isinstance(change.before, Service)
        return matters
