"""Clocks that are wrong: a date that jumps, and an oscillator that is too fast or too slow.

`DriftingClock` is trio's own for the whole loop, so every timer of the node goes at its rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from raftswarm.world.clock import WallClock

Seconds = Callable[[], float]
"""A clock that never steps."""


class DriftingClock(trio.abc.Clock):
    """Monotonic time at a rate that may change, without ever jumping."""

    def __init__(self, now: Seconds = time.perf_counter) -> None:
        self._now = now
        self._rate = 1.0
        self._true_at_change = now()
        self._own_at_change = self._true_at_change

    @property
    def rate(self) -> float:
        """How many seconds of its own pass in a true one."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._own_at_change = self.current_time()
        self._true_at_change = self._now()
        self._rate = rate

    def start_clock(self) -> None:
        """Begin: it goes already."""

    def current_time(self) -> float:
        """Seconds by this clock."""
        return self._own_at_change + (self._now() - self._true_at_change) * self._rate

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How many true seconds there are until then."""
        return (deadline - self.current_time()) / self._rate


class ConditionedWallClock:
    """A date that is ahead or behind, and drifts while the rate is not 1. Set right, it is the true one at once."""

    def __init__(self, true: WallClock) -> None:
        self._true = true
        self._ahead_ns = 0
        self._rate = 1.0
        self._drifts_since_ns = 0

    def set(self, ahead_seconds: float, rate: float) -> None:
        """Let it be wrong like that from now on."""
        self._ahead_ns = int(ahead_seconds * 1e9)
        if rate != self._rate:
            self._rate, self._drifts_since_ns = rate, self._true.now_ns()

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC, as this clock has it."""
        true_ns = self._true.now_ns()
        drift_ns = int((self._rate - 1.0) * (true_ns - self._drifts_since_ns))
        return true_ns + self._ahead_ns + drift_ns
