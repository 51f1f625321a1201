"""A machine's clocks, which may be wrong in every way that clocks are."""

from __future__ import annotations

from math import inf, nextafter
from typing import Final

import attrs

from raftswarm.lab.event_heap import EventHeap

EPOCH_NS: Final = 1_700_000_000 * 10**9


@attrs.define(eq=False)
class HostClock:
    """A machine's clocks: the monotonic one may be fast or slow, or stand; the wall clock may jump."""

    heap: EventHeap
    wall_offset_seconds: float = 0.0
    rate: float = 1.0
    _world_base: float = 0.0
    _local_base: float = 0.0
    _stands_at: float | None = None

    def now(self) -> float:
        """Monotonic seconds."""
        if self._stands_at is not None:
            return self._stands_at
        return self._local_base + (self.heap.now - self._world_base) * self.rate

    def to_world(self, local: float) -> float:
        """When, on the world's clock, this clock will show `local` or a little more; `inf` while it stands."""
        if self._stands_at is not None and local > self._stands_at:
            return inf
        world = self._world_base + (local - self._local_base) / self.rate
        while self._local_base + (world - self._world_base) * self.rate < local:
            world = nextafter(world, inf)
        return world

    def run_at(self, rate: float) -> None:
        """Go at this rate from now on."""
        self._local_base, self._world_base, self.rate = self.now(), self.heap.now, rate

    def stand(self) -> None:
        """Show the same time until `go_on`."""
        self._stands_at = self.now()

    @property
    def stands(self) -> bool:
        """Tell whether it does."""
        return self._stands_at is not None

    def go_on(self) -> None:
        """Go on from where it stands."""
        if self._stands_at is not None:
            self._local_base, self._world_base, self._stands_at = self._stands_at, self.heap.now, None

    def now_ns(self) -> int:
        """Wall time."""
        return EPOCH_NS + int((self.heap.now + self.wall_offset_seconds) * 1e9)
