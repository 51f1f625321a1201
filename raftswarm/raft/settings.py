"""Timing and limits of one member. Times are seconds of the world's monotonic clock."""

from __future__ import annotations

from typing import Final

import attrs

_ABOVE_ZERO: Final = attrs.validators.gt(0)
_LONGER_THAN_ZERO: Final = attrs.validators.gt(0.0)


@attrs.frozen(kw_only=True)
class RaftSettings:
    """Defaults as `docker info` prints them: a tick of 100 ms, HeartbeatTick 1, ElectionTick 10."""

    heartbeat_seconds: float = attrs.field(default=0.1, validator=_LONGER_THAN_ZERO)
    election_seconds: float = attrs.field(default=1.0, validator=_LONGER_THAN_ZERO)
    """T: a follower waits [T, 2T) for its leader; a leader steps down after T without a quorum."""
    pre_vote: bool = True
    """Ask whether an election could be won before a term is spent on it (9.6)."""
    check_quorum: bool = True
    """A leader steps down when it hears of no quorum (6.2), and who hears a leader votes for no other (4.2.3)."""
    hint_rank_seconds: float = 0.01
    """With a hint that the leader stopped, a member waits this long per place in the successor order …"""
    hint_spread_seconds: float = 0.005
    """… plus up to this much at random, unless it is the first."""
    hint_retry_seconds: tuple[float, float] = (0.02, 0.04)
    """While the hint is fresh, pre-votes are retried after a delay drawn from here."""
    append_window_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_ABOVE_ZERO)
    """Unacknowledged bytes per follower; one entry may exceed an empty window."""
    append_window_messages: int = attrs.field(default=256, validator=_ABOVE_ZERO)
    append_message_bytes: int = attrs.field(default=256 * 1024, validator=attrs.validators.ge(0))
    """Entries are packed into a message up to here; one entry may exceed it."""
    uncommitted_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_ABOVE_ZERO)
    """Proposals wait while the leader's uncommitted tail is longer than this."""
    slow_disk_seconds: float = 0.5
    """A leader whose write has taken so long, while a quorum of others has it, hands over: far longer than a sync takes
    on a disk in order, and shorter than anybody waits for a leader that is gone."""
    lease_reads: bool = False
    """A leader answers reads without asking a quorum while its lease runs. All members must be set alike, since voters
    promise what the lease counts on (docs/raft.md)."""
    clock_drift: float = attrs.field(default=0.1, validator=attrs.validators.ge(0.0))
    """What leases count on: no member's monotonic clock goes faster than another's by more than this share."""

    def __attrs_post_init__(self) -> None:
        """Refuse an election timeout that leaves no time for a heartbeat."""
        if self.election_seconds <= self.heartbeat_seconds:
            raise ValueError(
                f"election_seconds of {self.election_seconds} leaves no time for a heartbeat, which comes every "
                f"{self.heartbeat_seconds}: ten times as much is usual"
            )
