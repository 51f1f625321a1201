"""Garbage collection without long pauses: what has survived is not searched again.

CPython searches all objects of the process whenever it has grown by a quarter: 331 ms with 100,000 tasks in memory, in
which nothing else runs. While a plan is in force here, each full search takes what has survived it out of the next
one (`gc.freeze`), so a search costs what was made since the last: 3 ms there. Objects are freed as ever when nobody
refers to them; only those that refer to each other in a circle wait for a search, and of what is frozen they wait
longer: until the process holds twice as much as at the last search of everything. The hot path makes no such circles,
a test says so.

All of it is about the whole process, so it begins with the first who asks and is undone after the last. A program that
plans its collections itself, by `gc.disable` or `gc.freeze`, keeps its plan.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (10_000, 1, 0)
"""Everything new is searched every 40,000 objects or so (docs/decisions.md has what was measured)."""
GROWTH: Final = 2
"""What is frozen is searched when the process holds so many times the memory blocks it held the last time."""
OLDEST: Final = 2


class CollectionPlan:
    """When this process searches for garbage; the one there is stands below."""

    def __init__(self, allocated_blocks: Callable[[], int] = sys.getallocatedblocks) -> None:
        self._allocated_blocks = allocated_blocks
        self._lock = threading.Lock()  # Programs may run a loop in each of several threads.
        self._users = 0
        self._thresholds_before: tuple[int, int, int] | None = None
        """None: the program has a plan of its own, and keeps it."""
        self._blocks = 0
        """At the last search of everything, or when that was last known to be worth keeping."""
        self._searches_all = False
        """The next full search is one of everything."""

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Keep to the plan for as long as the block lasts."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._begin()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._end()

    def settle(self) -> None:
        """Much was just built that will stay, as after a start: do not search it, and count growth from here."""
        with self._lock:
            if self._thresholds_before is not None:
                self._start_over()

    def _begin(self) -> None:
        # Without a count of blocks (PYTHONMALLOC=malloc) nobody could tell when to search what is frozen.
        if not gc.isenabled() or gc.get_freeze_count() or not self._allocated_blocks():
            return
        self._thresholds_before = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._searched)
        self._start_over()

    def _start_over(self) -> None:
        self._blocks = self._allocated_blocks()
        self._searches_all = False
        gc.freeze()
        gc.collect()  # Of nothing: CPython puts full searches off until so much is new as a quarter of the last found.

    def _end(self) -> None:
        if self._thresholds_before is None:
            return
        gc.callbacks.remove(self._searched)
        if gc.get_threshold() == THRESHOLDS:  # Otherwise the program has changed its mind meanwhile.
            gc.set_threshold(*self._thresholds_before)
        self._thresholds_before = None
        gc.unfreeze()

    def _searched(self, phase: str, info: Mapping[str, int]) -> None:
        """After a full search, in whichever thread: freeze what is left, or see to it that the next is thorough."""
        if phase != "stop" or info["generation"] != OLDEST:
            return
        blocks = self._allocated_blocks()
        if self._searches_all:
            self._searches_all = False
            self._blocks = blocks
        elif blocks > GROWTH * self._blocks:
            self._searches_all = True
            gc.unfreeze()
            return
        gc.freeze()


PLAN: Final = CollectionPlan()
"""Of this process."""
