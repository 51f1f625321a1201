"""The scheduler's loop: collects what waits for a moment, then places all of it in one pass (SWARM 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import trio

from raftswarm.manager.loops import SteadyClock, Tables, keep_serving, write_actions
from raftswarm.manager.scheduler.actions import AnyAction
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.manager.scheduler.planner import plan_assignments
from raftswarm.objects.records import Node, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import suitability
from raftswarm.store.contracts import Change, Watch, Writes
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices, run_sliced

QUIET_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 1.0


@attrs.define(eq=False)
class Scheduler:
    """Gives nodes to pending tasks. Runs on the leader."""

    _store: Tables
    _writes: Writes
    _wall: WallClock

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        clock = SteadyClock.start(self._wall)
        with self._store.watch(Node, Task) as watch:
            ledger = await run_sliced(Ledger.read(self._store.find(Node), self._store.find(Task)))
            while True:
                actions = await run_sliced(plan_assignments(ledger, now=clock.now_ns()))
                await write_actions(self._writes, actions)
                await run_sliced(self._note_written(actions, ledger))
                await self._wait_for_work(watch, ledger, clock)

    async def _wait_for_work(self, watch: Watch, ledger: Ledger, clock: SteadyClock) -> None:
        """Return a quiet moment after something that matters; other writes do not put a pass off."""
        while not await run_sliced(self._note(await watch.next(), ledger, clock.now_ns())):
            pass
        ends_at = trio.current_time() + LONGEST_SECONDS
        quiet_at = trio.current_time() + QUIET_SECONDS
        while True:
            changes: Sequence[Change] = ()
            with trio.move_on_at(min(quiet_at, ends_at)):
                changes = await watch.next()
            if not changes:
                return
            if await run_sliced(self._note(changes, ledger, clock.now_ns())):
                quiet_at = trio.current_time() + QUIET_SECONDS

    def _note_written(self, actions: Iterable[AnyAction], ledger: Ledger) -> Slices[None]:
        """Known before the next pass, whenever the watch brings it."""
        for action in actions:
            yield
            ledger.note_task(action.task_id, self._store.get(Task, action.task_id))

    def _note(self, changes: Iterable[Change], ledger: Ledger, now: int) -> Slices[bool]:
        """Take changes into the ledger; tell whether a pass could now decide otherwise."""
        matters = False
        for change in changes:
            yield
            match change.before, change.after:
                case before, Node() as node:
                    ledger.note_node(node)
                    matters |= bool(ledger.pending) and _has_changed(before, node)
                case Node() as node, None:
                    ledger.forget_node(node.id)
                case before, Task() as task:
                    # Of a task that has moved on since, the newest is known: an older change must not undo it.
                    ledger.note_task(task.id, self._store.get(Task, task.id))
                    if isinstance(before, Task) and _has_failed(before, task):
                        ledger.note_failure(task, now)
                    matters |= task.status.state is TaskState.PENDING and _is_news(before, task)
                    matters |= bool(ledger.pending) and task.status.state.is_terminal
                case Task() as task, None:
                    ledger.note_task(task.id, None)
                    matters |= bool(ledger.pending)
                case _:
                    pass
        return matters


def _has_changed(before: object, node: Node) -> bool:
    return not isinstance(before, Node) or suitability(before) != suitability(node)


def _is_news(before: object, task: Task) -> bool:
    """Tell whether more than the explanation has changed."""
    return not isinstance(before, Task) or (before.status.state, before.desired_state) != (
        task.status.state,
        task.desired_state,
    )


def _has_failed(before: Task, task: Task) -> bool:
    ended_badly = task.status.state in {TaskState.FAILED, TaskState.REJECTED}
    return ended_badly and not before.status.state.is_terminal and bool(task.slot)
