"""What members say to each other: Figures 2 and 13 of the paper, pre-vote (9.6), transfer (3.10) and openings.

Every message names sender, receiver, and the sender's term and boot; a term is told, and a reply says what the sender
has done, only once that is durable.
"""

from __future__ import annotations

import msgspec

from raftswarm.raft.log_entry import Entry, Number, SnapshotMeta


class Message(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """What all messages carry."""

    sender: Number
    to: Number
    term: Number
    boot: Number = 0
    """Which start of the sender speaks: what an earlier one said and the network kept is told apart. 0 is unknown."""


class PreVote(Message, frozen=True, kw_only=True):
    """Would you vote for me in `term`? Changes nothing at the receiver (9.6)."""

    last_index: Number
    last_term: Number
    leader_hint: Number = 0
    """The leader the sender believes stopped (its link broke and reconnecting was refused); 0 without such a hint."""


class PreVoteReply(Message, frozen=True, kw_only=True):
    """`term` is the asked one when granted, the receiver's own when refused."""

    granted: bool


class RequestVote(Message, frozen=True, kw_only=True):
    """RequestVote RPC."""

    last_index: Number
    last_term: Number
    leader_hint: Number = 0
    transfer: bool = False
    """Asked to by the leader itself (3.10): stickiness does not apply."""


class VoteReply(Message, frozen=True, kw_only=True):
    """The vote is on disk when this leaves."""

    granted: bool


class AppendEntries(Message, frozen=True, kw_only=True):
    """AppendEntries RPC; without entries it probes or moves the commit index."""

    previous_index: Number
    previous_term: Number
    entries: tuple[Entry, ...] = ()
    commit: Number = 0
    successors: tuple[Number, ...] = ()
    """Voters other than the leader, best log first: the order in which they campaign after a hint."""


class AppendReply(Message, frozen=True, kw_only=True):
    """`match_index` is durable at the sender when this leaves."""

    success: bool
    match_index: Number = 0
    """On success: the last index known to agree with the leader. Otherwise the refused `previous_index`."""
    conflict_term: Number = 0
    """On refusal: the term of the conflicting entry, 0 when the log is too short (5.3)."""
    conflict_index: Number = 0
    """On refusal: the first index of that term, or one past the last entry."""


class Heartbeat(Message, frozen=True, kw_only=True):
    """Keeps followers from campaigning; on the control lane, never behind entries."""

    commit: Number
    """At most what this follower is known to have."""
    round: Number = 0
    """Number of the read round it also confirms (6.4)."""
    successors: tuple[Number, ...] = ()
    """As of `AppendEntries`: those go to each follower at another time, and all have to agree on who is first."""


class HeartbeatReply(Message, frozen=True, kw_only=True):
    """I still follow you."""

    round: Number = 0
    last_index: Number = 0
    promise_seconds: float = 0.0
    """For so long after hearing you I vote for nobody, by my clock, whatever happens (leases)."""


class ReadIndex(Message, frozen=True, kw_only=True):
    """From which index on may my reads be served? One asks for all reads of a turn, from any member (6.4)."""

    number: Number
    """Counts the requests of the sender's start, from a number drawn at random."""


class ReadIndexReply(Message, frozen=True, kw_only=True):
    """From `index` on; a quorum has confirmed the leader since the request came. Answers all earlier requests too."""

    number: Number
    index: Number


class InstallSnapshot(Message, frozen=True, kw_only=True):
    """The snapshot's data has arrived beside this on the bulk lane, complete and checked (section 7)."""

    snapshot: SnapshotMeta


class SnapshotReply(Message, frozen=True, kw_only=True):
    """The snapshot is on disk (`installed`), or was not needed; `match_index` tells where to go on."""

    installed: bool
    match_index: Number


class TimeoutNow(Message, frozen=True, kw_only=True):
    """Leadership transfer: campaign at once (3.10)."""


class Opening(Message, frozen=True, kw_only=True):
    """First message on every link, both ways: who speaks, and how much it remembers."""

    cluster: str
    incarnation: Number
    """How often this identity was added anew; 1 at first."""
    last_index: Number
    """What this start found on its disk; `term` likewise."""
    last_term: Number
    start: Number = 0
    """Drawn at random by this start: tells an opening that was delayed from one of a copy of the disk."""
    answers: Number = 0
    """The `start` of the opening that this one answers, having found nothing missing; 0 when it asks for an answer."""


class Regressed(Message, frozen=True, kw_only=True):
    """You remember less than you once claimed: no vote, no count, until removed and added again."""

    incarnation: Number = 1
    """Which incarnation of the receiver is meant."""
    start: Number = 0
    """The `start` of the opening that is refused; 0 when it was another message."""
    known_boot: Number
    known_term: Number
    known_index: Number


AnyMessage = (
    PreVote
    | PreVoteReply
    | RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | ReadIndex
    | ReadIndexReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | Opening
    | Regressed
)
