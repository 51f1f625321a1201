"""What a log holds, by terms alone: enough to check every claim about it at constant cost."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from raftswarm.raft.log_entry import Entry, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.member_storage import Recovered


@attrs.define(eq=False)
class LogImage:
    """The terms of the entries after `base_index`; what lies before is in a snapshot."""

    base_index: int = 0
    base_term: int = 0
    terms: list[int] = attrs.Factory(list)

    @classmethod
    def of(cls, snapshot: SnapshotMeta, entries: Sequence[Entry]) -> LogImage:
        """Build it from what a member starts with."""
        if not entries or entries[-1].index < snapshot.index:
            return cls(snapshot.index, snapshot.term)
        before = entries[0].index - 1
        base_term = snapshot.term if before == snapshot.index else 0
        return cls(before, base_term, [entry.term for entry in entries])

    @property
    def last_index(self) -> int:
        """Where the log ends."""
        return self.base_index + len(self.terms)

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self.terms[-1] if self.terms else self.base_term

    def term_at(self, index: int) -> int | None:
        """Term of the entry there; None above the end, 0 when only a snapshot knows."""
        place = index - self.base_index
        if place > len(self.terms):
            return None
        if place > 0:
            return self.terms[place - 1]
        return self.base_term if place == 0 else 0

    def holds(self, index: int, term: int) -> bool:
        """Tell whether that entry is here, or in the snapshot below."""
        return self.term_at(index) in {term, 0}

    def make(self, write: Write) -> None:
        """Do to this image what a write does to the log."""
        keep = self.last_index
        if write.truncate_after is not None:
            keep = write.truncate_after
        if write.entries:
            keep = min(keep, write.entries[0].index - 1)
        del self.terms[max(0, keep - self.base_index) :]
        for entry in write.entries:
            if entry.index > self.base_index:
                assert entry.index == self.last_index + 1, "a log has no holes"
                self.terms.append(entry.term)

    def copy(self) -> LogImage:
        """Return an independent one."""
        return LogImage(self.base_index, self.base_term, list(self.terms))


@attrs.define(eq=False)
class DurableImage:
    """What one member's disk holds for good, over all its starts."""

    hard_state: HardState = HardState()
    log: LogImage = attrs.Factory(LogImage)
    snapshot: SnapshotMeta = SnapshotMeta()

    def wrote(self, write: Write) -> None:
        """A write became durable."""
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        self.log.make(write)

    def installed(self, snapshot: SnapshotMeta) -> None:
        """A received snapshot took the place of the log."""
        self.snapshot = snapshot
        self.log = LogImage(snapshot.index, snapshot.term)

    def saved(self, snapshot: SnapshotMeta) -> None:
        """An own snapshot became durable; it counts unless a newer one was installed while it was written."""
        if snapshot.index >= self.snapshot.index:
            self.snapshot = snapshot

    def copy(self) -> DurableImage:
        """Return an independent one."""
        return DurableImage(self.hard_state, self.log.copy(), self.snapshot)

    def is_same_as(self, recovered: Recovered) -> bool:
        """Tell whether recovery found exactly this."""
        log = LogImage.of(recovered.snapshot, recovered.entries)
        if (recovered.hard_state, recovered.snapshot) != (self.hard_state, self.snapshot):
            return False
        if (log.last_index, log.last_term) != (self.log.last_index, self.log.last_term):
            return False
        start = max(log.base_index, self.log.base_index) + 1
        return all(log.term_at(index) == self.log.term_at(index) for index in range(start, log.last_index + 1))


def keeps_promises(found: HardState, given: HardState) -> bool:
    """Tell whether whoever goes on from there breaks nothing that it said in that term, or before."""
    return found.term > given.term or (found.term == given.term and given.voted_for in {0, found.voted_for})
