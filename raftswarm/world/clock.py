"""Time. Monotonic time is trio's (so `MockClock` works); wall time is for people and certificates only."""

from __future__ import annotations

import time
from typing import Final, Protocol

import trio

_EPOCH_SECONDS: Final = 1_700_000_000


class WallClock(Protocol):
    """Tells the date; may jump."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...


class SystemWallClock:
    """The operating system's; the only place that asks it."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return time.time_ns()


class LoopWallClock:
    """Trio's clock as a date: for worlds in memory, where time is virtual."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return int((_EPOCH_SECONDS + trio.current_time()) * 1e9)
