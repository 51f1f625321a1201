"""Runs trio programs whose every turn depends on a seed, and freezes parts of them; no other module looks inside trio.

Trio runs what is runnable in batches, and which task of a batch comes first is left to chance. Its own tests make that
repeatable by a private switch and a private source of chance; so do we. Deadlines of one instant fall due in an order
that depends on addresses in memory, but whom they wake stands in one batch, which is sorted before it is shuffled.

A `Family` is what runs in one simulated process: a task and all that it starts. Frozen, its tasks get no turns; what
they waited for happens meanwhile and finds them runnable when they thaw, as after SIGSTOP. A process that was killed
stays frozen: so no line of it runs any more, not even what stands under `finally`.

``tests/lab/swarm/test_scheduling.py`` fails when trio changes what this counts on.
"""

# ruff: noqa: SLF001 - what trio keeps to itself is this module's business

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import attrs
import trio
from trio._core import _run as trio_run
from trio.lowlevel import Task
from trio.testing import MockClock

T = TypeVar("T")

MAX_UNWINDING_STEPS: Final = 100_000

_family: ContextVar[Family | None] = ContextVar("raftswarm.lab.family", default=None)


@attrs.define(eq=False)
class Family:
    """The tasks of one simulated process."""

    is_frozen: bool = False
    held: list[Task] = attrs.field(factory=list, init=False, repr=False)
    """Those that would have had a turn since."""

    def found(self) -> None:
        """Let the current task be its first; what that starts from now on belongs to it."""
        _family.set(self)


class _Runnable(deque[Task]):
    """Trio's queue of runnable tasks; those of frozen families wait elsewhere."""

    def append(self, task: Task, /) -> None:
        family = task.context.get(_family)
        if family is not None and family.is_frozen:
            family.held.append(task)
        else:
            super().append(task)


class Scheduler(trio.abc.Instrument):
    """Freezes and thaws, between two batches: nobody is frozen who has a turn coming in the present one."""

    def __init__(self) -> None:
        self._runner: Any = None
        self._requests: list[tuple[Callable[[], None], trio.Event, list[BaseException]]] = []

    def take_over(self) -> None:
        """Stand between trio and its queue; called once, in the loop."""
        self._runner = trio_run.GLOBAL_RUN_CONTEXT.runner
        self._runner.runq = _Runnable(self._runner.runq)
        trio.lowlevel.add_instrument(self)

    async def between_batches(self, act: Callable[[], None]) -> None:
        """Call `act` when no task is due in the present batch; raises what it raises."""
        done = trio.Event()
        failures: list[BaseException] = []
        self._requests.append((act, done, failures))
        with trio.CancelScope(shield=True):
            await done.wait()
        if failures:
            raise failures[0]

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
        """A batch is over."""
        requests, self._requests = self._requests, []
        for act, done, failures in requests:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                failures.append(error)
            done.set()

    def freeze(self, family: Family) -> None:
        """Give its tasks no turns; only between batches."""
        family.is_frozen = True
        runnable: list[Task] = list(self._runner.runq)
        self._runner.runq.clear()
        for task in runnable:
            self._runner.runq.append(task)

    def thaw(self, family: Family) -> None:
        """Let its tasks go on."""
        family.is_frozen = False
        held, family.held = family.held, []
        self._runner.runq.extend(held)


@contextmanager
def _seeded(seed: object) -> Iterator[None]:
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    state = trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(f"turns {seed}")
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(state)


def run_seeded(main: Callable[[Scheduler], Awaitable[T]], seed: object) -> T:
    """Run `main` on a loop of its own: virtual time that jumps when all wait, turns in an order drawn from the seed."""

    async def begin() -> T:
        scheduler = Scheduler()
        scheduler.take_over()
        return await main(scheduler)

    with _seeded(seed):
        return trio.run(begin, clock=MockClock(autojump_threshold=0))


async def unwind(nursery: trio.Nursery) -> None:
    """Cancel everything below a nursery, shielded or not, and return when it is gone."""
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        for _ in range(MAX_UNWINDING_STEPS):
            if not nursery.child_tasks:
                return
            for task in _tasks_below(nursery.child_tasks):
                _unshield(task, nursery.cancel_scope)
            await trio.lowlevel.checkpoint()
    raise RuntimeError(f"tasks that do not end: {', '.join(task.name for task in _tasks_below(nursery.child_tasks))}")


def _tasks_below(tasks: Iterable[Task]) -> list[Task]:
    found: list[Task] = []
    waiting = list(tasks)
    while waiting:
        task = waiting.pop()
        found.append(task)
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return found


def _unshield(task: Task, root: trio.CancelScope) -> None:
    status: Any = task._cancel_status
    while status is not None and status._scope is not root:
        status._scope.shield = False
        status = status._parent
