"""Virtual time: what happens next is whatever stands first on a heap.

Events of one instant run in the order in which they were planned, so a run depends on nothing but its seed. What comes
from outside (faults) interrupts: it stands on an agenda of its own, comes before the events of its instant and is not
counted, so that it makes no difference to a run whether faults are drawn as it goes or read from a list.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf, nextafter
from typing import Any, TypeAlias, TypeVarTuple

Ts = TypeVarTuple("Ts")
Watch: TypeAlias = Callable[[float, int, Callable[..., object], tuple[Any, ...]], object]
"""Takes an event's time, its place among all that were planned, what is to be called, and with what."""


class EventHeap:
    """The world's clock and agenda."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the world began; moves only when an event runs."""
        self.events_run = 0
        self.watch: Watch | None = None
        """Hears of every event, before it is run; if it raises, the event stays planned."""
        self._planned: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._planned_so_far = 0
        self._interrupts_so_far = 0
        self._interrupts: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, when: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` at that time, or now if that is over."""
        self._planned_so_far += 1
        heappush(self._planned, (max(when, self.now), self._planned_so_far, action, args))

    def after(self, delay_seconds: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` so much later."""
        self._planned_so_far += 1
        heappush(self._planned, (self.now + delay_seconds, self._planned_so_far, action, args))

    def interrupt_at(self, when: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` at that time, before the events of that instant; only interrupts may plan others."""
        self._interrupts_so_far += 1
        heappush(self._interrupts, (max(when, self.now), self._interrupts_so_far, action, args))

    def next_time(self) -> float:
        """When the next event or interrupt is due; infinite when nothing is planned."""
        planned = self._planned[0][0] if self._planned else inf
        return min(planned, self._interrupts[0][0]) if self._interrupts else planned

    def run_next(self) -> bool:
        """Run one event or interrupt; False when nothing is planned."""
        if self._interrupts and (not self._planned or self._interrupts[0][0] <= self._planned[0][0]):
            self.now, _, action, args = heappop(self._interrupts)
            action(*args)
            return True
        if not self._planned:
            return False
        if self.watch is not None:
            self.watch(*self._planned[0])
        self.now, _, action, args = heappop(self._planned)
        self.events_run += 1
        action(*args)
        return True

    def run_until(self, when: float) -> None:
        """Run all events up to and including that time, then let the clock stand there."""
        while self._interrupts and self._interrupts[0][0] <= when:
            self._run_before(self._interrupts[0][0])
            self.run_next()
        self._run_before(nextafter(when, inf))
        self.now = max(self.now, when)

    def _run_before(self, when: float) -> None:
        planned = self._planned
        while planned and planned[0][0] < when:
            if self.watch is not None:
                self.watch(*planned[0])
            self.now, _, action, args = heappop(planned)
            self.events_run += 1
            action(*args)
