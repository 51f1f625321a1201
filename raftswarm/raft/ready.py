"""The work a member hands out. Fields stand in the order in which the outside world does them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from raftswarm.raft.log_entry import Entry, HardState, SnapshotMeta
from raftswarm.raft.messages import AnyMessage


@attrs.frozen
class Leadership:
    """Who leads, as far as this member knows."""

    term: int
    leader: int
    """0 when unknown."""
    is_leader: bool


@attrs.frozen
class ProposalOutcome:
    """Where a proposal went. It is only *appended*; committed when an entry of this term comes out at this index."""

    token: int
    index: int = 0
    term: int = 0
    refused: str = ""
    """Why it was not appended; empty when it was."""
    leader: int = 0
    """With `refused`: the leader to ask instead, 0 if unknown."""


@attrs.frozen
class ReadOutcome:
    """A read is linearizable once everything up to `index` is applied here."""

    token: int
    index: int = 0
    refused: str = ""
    leader: int = 0


@attrs.frozen
class TransferOutcome:
    """How a wish to hand leadership over has ended."""

    token: int
    leader: int = 0
    """Who leads now, as far as this member knows; 0 if unknown."""
    failed: str = ""
    """Why it is not who was wished for; empty when it is."""


class Write(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One write to the log; all of it is durable, or none of what follows counts."""

    number: int
    """Counts a member's writes since it started; `Written` names it."""
    hard_state: HardState | None = None
    """Term and vote, when they changed."""
    truncate_after: int | None = None
    """Forget every entry above this index first: they conflict with the leader's (5.3)."""
    entries: tuple[Entry, ...] = ()
    last_index: int = 0
    """Where the log ends after this write."""
    last_term: int = 0


@attrs.frozen
class SnapshotTransfer:
    """Stream that snapshot to that peer, then step `SnapshotSent`. It is the newest, or one that broke off before."""

    to: int
    snapshot: SnapshotMeta


class Ready(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One turn's work."""

    messages: Sequence[AnyMessage] = ()
    """May leave at once. What claims durability (votes, acknowledgements) comes in the `Ready` after its `Written`."""
    install: SnapshotMeta | None = None
    """Replace the machine's state by this received snapshot, and the log by what follows it: before `write`, which is
    there whenever this is, so that its `Written` covers both."""
    write: Write | None = None
    committed: tuple[Entry, ...] = ()
    """Apply these, in order; may run before `write` is durable here (a quorum has them)."""
    proposals: Sequence[ProposalOutcome] = ()
    reads: Sequence[ReadOutcome] = ()
    transfers: Sequence[TransferOutcome] = ()
    snapshots_to_send: Sequence[SnapshotTransfer] = ()
    leadership: Leadership | None = None
    """Set when it changed."""
    notes: Sequence[str] = ()
    """Sentences for the log: elections won and lost, messages dropped and why."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return any(
            (
                self.messages,
                self.write,
                self.install,
                self.committed,
                self.proposals,
                self.reads,
                self.transfers,
                self.snapshots_to_send,
                self.leadership,
                self.notes,
            )
        )
