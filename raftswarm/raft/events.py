"""What can happen to a member: all of it enters through `Member.step`, one event at a time, with its time."""

from __future__ import annotations

from enum import Enum
from math import inf

import attrs

from raftswarm.raft.log_entry import Batch, Configuration, SnapshotMeta
from raftswarm.raft.messages import AnyMessage


@attrs.frozen
class Receive:
    """A message arrived from an authenticated peer."""

    message: AnyMessage


@attrs.frozen
class TimePassed:
    """A timer may be due. Stepped last in a turn, so that a late timer sees what waited in the sockets first."""


@attrs.frozen
class Propose:
    """Append this batch, if leading. `token` comes back in `Ready.proposals`."""

    token: int
    batch: Batch
    time_ns: int


class Transition(Enum):
    """How a change of the members gets from the old voters to the new (dissertation 4.1, 4.3)."""

    AUTO = "auto"
    """In a single step if that is safe, else as `IMPLICIT`. Also leaves a joint configuration for its new members."""
    SINGLE = "single"
    """In a single step, or not at all."""
    IMPLICIT = "implicit"
    """By a joint configuration, which whoever leads leaves as soon as it is committed."""
    EXPLICIT = "explicit"
    """By a joint configuration, which stays until its new members are proposed once more."""


@attrs.frozen
class ProposeConfiguration:
    """Change the members, if leading (4.1, 4.3): refused while another change is uncommitted."""

    token: int
    configuration: Configuration
    """The voters and learners that are wished."""
    time_ns: int
    transition: Transition = Transition.AUTO


@attrs.frozen
class ReadBarrier:
    """Ask for an index from which a local read is linearizable (6.4). Answered in `Ready.reads`."""

    token: int


@attrs.frozen
class TransferLeadership:
    """Hand over to that voter (3.10); 0 lets the leader choose the one with the best log."""

    to: int = 0
    token: int = 0
    """Comes back in `Ready.transfers` when it has gone well or badly; 0 if nobody waits for that."""


@attrs.frozen
class Written:
    """All writes up to this number are durable. Term and index are what that write ended with."""

    number: int
    term: int
    index: int


@attrs.frozen
class SnapshotSaved:
    """The state machine's state up to `snapshot.index` is durable; the log may be cut behind it."""

    snapshot: SnapshotMeta
    keep_entries: int = 0
    """How many entries before the snapshot stay, for whoever falls behind next …"""
    keep_entries_bytes: float = inf
    """… unless they weigh more than this: then only the newest of them."""
    keep_bytes: int = 0
    """How much more stays for a follower that is alive and lacks it; who lacks more gets the snapshot."""


@attrs.frozen
class SnapshotSent:
    """The transfer asked for in `Ready.snapshots_to_send` has ended; the peer holds the data if `delivered`.

    `index` is the snapshot's.
    """

    to: int
    index: int
    delivered: bool
    can_go_on: bool = False
    """It broke off, and that very snapshot is at hand still; otherwise another transfer takes the newest."""


@attrs.frozen
class PeerConnected:
    """A link to that peer is open: an `Opening` goes first."""

    peer: int


@attrs.frozen
class PeerStopped:
    """A hint: the link broke and reconnecting was refused, or the peer said good-bye (docs/raft.md)."""

    peer: int


@attrs.frozen
class PeerUnreachable:
    """Messages to that peer were dropped: fall back to probing."""

    peer: int


Event = (
    Receive
    | TimePassed
    | Propose
    | ProposeConfiguration
    | ReadBarrier
    | TransferLeadership
    | Written
    | SnapshotSaved
    | SnapshotSent
    | PeerConnected
    | PeerStopped
    | PeerUnreachable
)
