"""Time. Monotonic time is trio's (so `MockClock` works); wall time is for people and certificates only."""

from __future__ import annotations

import time
from typing import Protocol


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
