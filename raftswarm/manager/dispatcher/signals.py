"""Two ways to wait: for a bell that somebody rings, and for the next of many deadlines."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import trio

K = TypeVar("K", bound=Hashable)


class Bell:
    """Rung any number of times, heard once, by the one who waits; a ring before the wait is not lost."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung.set()

    async def wait(self) -> None:
        """Return when it has been rung since the last time."""
        await self._rung.wait()
        self._rung = trio.Event()


class Deadlines(Generic[K]):
    """One deadline per key, on trio's clock. Moving one to later, as every heartbeat does, costs nothing."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        """At least one entry per key, at or before its deadline."""
        self._entered: dict[K, float] = {}
        """The earliest entry of each key."""
        self._count = 0
        self._sooner = Bell()

    def set(self, key: K, moment: float) -> None:
        """Set a key's deadline, in the place of the one it had."""
        self._due[key] = moment
        if moment < self._entered.get(key, float("inf")):
            self._enter(key, moment)
            self._sooner.ring()

    def drop(self, key: K) -> None:
        """Take a key's deadline away."""
        self._due.pop(key, None)

    async def wait_due(self) -> Sequence[K]:
        """Return the keys whose deadlines have come, at least one; they have none any more."""
        await trio.lowlevel.checkpoint()
        while True:
            due = self._take_due(trio.current_time())
            if due:
                return due
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else float("inf")):
                await self._sooner.wait()

    def _enter(self, key: K, moment: float) -> None:
        self._count += 1  # Keys need not compare.
        heapq.heappush(self._heap, (moment, self._count, key))
        self._entered[key] = moment

    def _take_due(self, now: float) -> list[K]:
        due: list[K] = []
        while self._heap and self._heap[0][0] <= now:
            moment, _, key = heapq.heappop(self._heap)
            if self._entered.get(key) != moment:
                continue  # An earlier entry of this key has been seen already.
            del self._entered[key]
            if key not in self._due:
                continue
            if self._due[key] <= now:
                del self._due[key]
                due.append(key)
            else:
                self._enter(key, self._due[key])
        return due
