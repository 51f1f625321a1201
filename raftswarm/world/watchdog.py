"""Counts and names what holds a trio loop for longer than 10 ms: in that time no heartbeat leaves it.

One round of the loop, from one wait for sockets and timers to the next, is always measured: that is how late everybody
else is served. Garbage collections and slices of long work are measured by name. Which task it was is known only where
it was asked for (``RAFTSWARM_WATCHDOG=1``): two more calls for each step of a task are half of what the step costs.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import trio

logger = logging.getLogger("raftswarm.watchdog")

LIMIT_SECONDS: Final = 0.010
ALARMING_SECONDS: Final = 0.1
"""What is worth a warning to whoever runs the program: a heartbeat is late by then."""
WARNING_SECONDS: Final = 1.0
"""Between two lines in the log about one name; what is not told there is counted all the same."""
ROUND: Final = "one round of the loop"

Seconds = Callable[[], float]
"""A clock that never steps."""


class Watchdog(trio.abc.Instrument):
    """Of one trio loop."""

    def __init__(self, now: Seconds = time.perf_counter) -> None:
        self.now = now
        self.overruns: Counter[str] = Counter()
        """How often each name held the loop for too long."""
        self.users = 0
        self._round_began: float | None = None
        self._collection_began: float | None = None
        self._collections: list[tuple[str, float]] = []
        """Since the round began. They come in the middle of anything, which is no place to log from."""
        self._warned: dict[str, float] = {}

    def note(self, name: str, seconds: float) -> None:
        """Something has held the loop for so long."""
        if seconds <= LIMIT_SECONDS:
            return
        self.overruns[name] += 1
        now = self.now()
        if now - self._warned.get(name, -WARNING_SECONDS) >= WARNING_SECONDS:
            self._warned[name] = now
            level = logging.WARNING if seconds >= ALARMING_SECONDS else logging.INFO
            times = self.overruns[name]
            logger.log(level, "%s held the loop for %.0f ms (%d times so far)", name, seconds * 1000, times)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
        """A round begins."""
        self._round_began = self.now()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
        """A round has ended."""
        if self._round_began is not None:
            self.note(ROUND, self.now() - self._round_began)
        if self._collections:
            collections, self._collections = self._collections, []
            for name, seconds in collections:
                self.note(name, seconds)

    def collecting(self, phase: str, info: Mapping[str, int]) -> None:
        """A garbage collection begins or ends, in whichever thread: all of them stand still."""
        if phase == "start":
            self._collection_began = self.now()
        elif self._collection_began is not None and (seconds := self.now() - self._collection_began) > LIMIT_SECONDS:
            self._collections.append((f"garbage collection of generation {info['generation']}", seconds))


class StepWatchdog(Watchdog):
    """Also names the task whose step it was."""

    _step_began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - trio's
        """A step begins."""
        self._step_began = self.now()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A step has ended."""
        self.note(f"task {task.name}", self.now() - self._step_began)


_watching: trio.lowlevel.RunVar[Watchdog | None] = trio.lowlevel.RunVar("raftswarm.watchdog", None)


def current_watchdog() -> Watchdog | None:
    """The watchdog of this loop; None where nobody watches, as in simulated worlds."""
    return _watching.get()


@contextmanager
def watch_loop(now: Seconds = time.perf_counter, *, name_tasks: bool | None = None) -> Iterator[Watchdog]:
    """Watch this loop for as long as the block lasts; whoever else asks meanwhile shares the watchdog.

    Args:
        now: the clock.
        name_tasks: name the tasks that hold the loop, too; by default if ``RAFTSWARM_WATCHDOG`` is 1.
    """
    watchdog = _watching.get()
    if watchdog is None:
        if name_tasks is None:
            name_tasks = os.environ.get("RAFTSWARM_WATCHDOG") == "1"
        watchdog = (StepWatchdog if name_tasks else Watchdog)(now)
        trio.lowlevel.add_instrument(watchdog)
        gc.callbacks.append(watchdog.collecting)
        _watching.set(watchdog)
    watchdog.users += 1
    try:
        yield watchdog
    finally:
        watchdog.users -= 1
        if not watchdog.users:
            _watching.set(None)
            gc.callbacks.remove(watchdog.collecting)
            with suppress(KeyError):  # One that raised was taken out by trio.
                trio.lowlevel.remove_instrument(watchdog)
