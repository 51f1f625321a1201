"""Virtual time: what happens next is whatever stands first on a heap.

Events of one instant run in the order in which they were planned, so a run depends on nothing but its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")


class EventHeap:
    """The world's clock and agenda."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the world began; moves only when an event runs."""
        self.events_run = 0
        self._planned: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._planned_so_far = 0

    def at(self, when: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` at that time, or now if that is over."""
        self._planned_so_far += 1
        heappush(self._planned, (max(when, self.now), self._planned_so_far, action, args))

    def after(self, delay_seconds: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` so much later."""
        self.at(self.now + delay_seconds, action, *args)

    def next_time(self) -> float:
        """When the next event is due; infinite when nothing is planned."""
        return self._planned[0][0] if self._planned else float("inf")

    def run_next(self) -> bool:
        """Run one event; False when nothing is planned."""
        if not self._planned:
            return False
        self.now, _, action, args = heappop(self._planned)
        self.events_run += 1
        action(*args)
        return True

    def run_until(self, when: float) -> None:
        """Run all events up to and including that time, then let the clock stand there."""
        planned = self._planned
        while planned and planned[0][0] <= when:
            self.run_next()
        self.now = max(self.now, when)
