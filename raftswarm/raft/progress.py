"""What a leader knows of one follower, and how much it may send it ahead of its answers.

The one big idea: three stages. A follower is *probed*, one message at a time, until its log is known to match; then
entries *flow* to it within a window; if it needs what is compacted, it waits for a *snapshot*.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import attrs

from raftswarm.raft.log_entry import SnapshotMeta


class Stage(Enum):
    """How a follower is being sent entries."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


@attrs.frozen
class Round:
    """A learner is to get the log as it was when this began (4.2.1)."""

    last_index: int
    began_at: float


@attrs.define(eq=False, kw_only=True)
class Progress:
    """One follower or learner, as its leader sees it."""

    next_index: int
    """The next entry to send; always above `match_index`."""
    heard_at: float
    """When it last answered."""
    match_index: int = 0
    """Its log is durable and agrees with ours up to here."""
    stage: Stage = Stage.PROBE
    paused: bool = False
    """Probing: nothing more goes out until it answers."""
    commit_sent: int = 0
    confirmed_round: int = 0
    """The newest round of heartbeats that it answered (6.4)."""
    probed_at: float = 0.0
    """When the last probe left."""
    moved_at: float = 0.0
    """When it last moved on, or began to have something to answer."""
    snapshot: SnapshotMeta | None = None
    """What is on its way to it, in stage SNAPSHOT."""
    broken_off: SnapshotMeta | None = None
    """Of which it may hold a part: its transfer ended too early."""
    delivered_at: float | None = None
    """When that arrived there: now it has to install it."""
    round: Round | None = None
    """Of a learner that is to become a voter: what it has to get next."""
    in_flight_bytes: int = 0
    _in_flight: deque[tuple[int, int]] = attrs.field(factory=deque)
    """Last index and bytes of each message with entries that is not acknowledged."""

    @property
    def in_flight_messages(self) -> int:
        """How many messages with entries are not acknowledged."""
        return len(self._in_flight)

    def probe_sent(self, now: float) -> None:
        """One message left to find out where the logs agree: wait for its answer."""
        self.paused = True
        self.probed_at = now

    def sent(self, last_index: int, size: int, now: float) -> None:
        """Entries up to `last_index` left for it."""
        if not self._in_flight:
            self.moved_at = now
        self._in_flight.append((last_index, size))
        self.in_flight_bytes += size
        self.next_index = last_index + 1

    def acknowledge(self, match_index: int, now: float) -> None:
        """It has everything up to there: late and repeated acknowledgements change nothing."""
        if match_index > self.match_index:
            self.match_index = match_index
            self.moved_at = now
        if self.broken_off is not None and match_index >= self.broken_off.index:
            self.broken_off = None
        self.next_index = max(self.next_index, match_index + 1)
        while self._in_flight and self._in_flight[0][0] <= match_index:
            self.in_flight_bytes -= self._in_flight.popleft()[1]
        if self.stage is Stage.PROBE:
            self.stage = Stage.REPLICATE
            self.next_index = max(self.next_index, self.match_index + 1)

    def probe(self, next_index: int | None = None, *, paused: bool = False) -> None:
        """Go back to one message at a time, from `next_index` or from where it is known to match."""
        self.stage = Stage.PROBE
        self.paused = paused
        self.next_index = max(self.match_index + 1, next_index or 0)
        self.snapshot = None
        self.delivered_at = None
        self._in_flight.clear()
        self.in_flight_bytes = 0

    def await_snapshot(self, snapshot: SnapshotMeta) -> None:
        """Send no entries until it has that snapshot."""
        self.probe()
        self.stage = Stage.SNAPSHOT
        self.snapshot = snapshot

    def break_off(self) -> None:
        """The transfer of its snapshot ended too early; it goes on when the follower is heard from."""
        self.broken_off = self.snapshot
        self.probe(paused=True)

    def is_stalled(self, now: float, patience_seconds: float) -> bool:
        """Tell whether what was sent has been unanswered for so long that it was probably lost."""
        return bool(self._in_flight) and now - self.moved_at > patience_seconds
