"""Which writes are done, and which messages wait for them.

The one big idea: a message that claims something durable is held with the number of the write that makes it true, and
comes out when that write is done. Writes complete in order, so one number says it all. A truncation clamps what the
writes still in flight will prove: entries that come back later under the same (term, index) are other bytes on the
disk's timeline, and only the write that brings them back proves them.
"""

from __future__ import annotations

from collections import deque

import attrs

from raftswarm.raft.messages import AnyMessage


@attrs.define
class _InFlight:
    number: int
    proves_index: int
    since: float


@attrs.define
class Durability:
    """The order of one member's writes."""

    durable_index: int
    """Our log is on disk up to here, and no write in flight will cut it shorter."""
    handed_out: int = 0
    """Number of the newest write."""
    written: int = 0
    """All writes up to this one are done."""
    _in_flight: deque[_InFlight] = attrs.field(factory=deque)
    _held: deque[tuple[int, AnyMessage]] = attrs.field(factory=deque)

    def hand_out(self, last_index: int, now: float) -> int:
        """Number the next write, which leaves the log ending at `last_index`."""
        self.handed_out += 1
        self._in_flight.append(_InFlight(self.handed_out, last_index, now))
        return self.handed_out

    @property
    def oldest_since(self) -> float | None:
        """When the oldest write that is not done was handed out; None if all are done."""
        return self._in_flight[0].since if self._in_flight else None

    def forget_after(self, index: int) -> bool:
        """The log was cut: nothing written so far proves anything above `index`. Tell whether a write under way did."""
        self.durable_index = min(self.durable_index, index)
        clamped = [write for write in self._in_flight if write.proves_index > index]
        for write in clamped:
            write.proves_index = index
        return bool(clamped)

    def hold(self, number: int, message: AnyMessage) -> None:
        """Keep a message until that write is done."""
        self._held.append((number, message))

    def complete(self, number: int) -> list[AnyMessage]:
        """All writes up to `number` are done: return the messages that waited for that; stale news return none."""
        assert number <= self.handed_out, "a write is done that was never handed out"
        if number <= self.written:
            return []
        self.written = number
        while self._in_flight and self._in_flight[0].number <= number:
            self.durable_index = max(self.durable_index, self._in_flight.popleft().proves_index)
        released = []
        while self._held and self._held[0][0] <= number:
            released.append(self._held.popleft()[1])
        return released
