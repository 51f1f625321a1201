"""The log as the core sees it: a tail of entries behind a snapshot, in memory.

The one big idea: the view knows which of its entries were handed out to be written, so that `take_unwritten` gives
exactly what the disk lacks. What is durable is counted elsewhere (`durability`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from raftswarm.errors import CorruptLog
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, SnapshotMeta
from raftswarm.raft.quorum import Quorum

ENTRY_OVERHEAD_BYTES = 64
"""What an entry weighs in windows and limits besides its data."""

_decode_configuration = msgspec.msgpack.Decoder(Configuration).decode
encode_configuration = msgspec.msgpack.Encoder().encode


def read_configuration(entry: Entry) -> Configuration | None:
    """Return the configuration that an entry carries; None when its bytes are not one."""
    try:
        return _decode_configuration(entry.data)
    except msgspec.MsgspecError:
        return None


class LogView:
    """Entries after some place in the log, and the snapshot that stands for what is before."""

    def __init__(self, snapshot: SnapshotMeta, entries: Sequence[Entry]) -> None:
        """Take over what was on disk: `entries` may reach back behind the snapshot, and must not leave a gap."""
        if entries and not _continues(snapshot, entries):
            # The snapshot came from a leader and replaced this log; we stopped before the log was cut (section 7).
            entries = ()
        self.snapshot = snapshot
        self._entries = list(entries)
        self._first_index = entries[0].index if entries else snapshot.index + 1
        self.last_index = self._first_index + len(entries) - 1
        """Where the log ends. Read all the time, so it is kept rather than worked out."""
        self._term_before: int | None = None
        if self._first_index == snapshot.index + 1:
            self._term_before = snapshot.term
        elif self._first_index == 1:
            self._term_before = 0
        self._handed_out = self.last_index
        self._truncate_after: int | None = None
        self._configurations: list[tuple[int, Configuration]] = []
        changes = EntryKind.CONFIGURATION  # Looked up once: logs are long, and this holds the loop.
        for entry in [entry for entry in self._entries if entry.kind is changes]:
            if entry.index > snapshot.index:
                self._note_configuration(entry)

    @property
    def first_index(self) -> int:
        """The oldest entry held; one past `last_index` when there is none."""
        return self._first_index

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self._entries[-1].term if self._entries else self.snapshot.term

    @property
    def last_time_ns(self) -> int:
        """The newest entry's time."""
        return self._entries[-1].time_ns if self._entries else self.snapshot.time_ns

    @property
    def configuration(self) -> Configuration:
        """The newest configuration in the log, committed or not (4.1)."""
        return self._configurations[-1][1] if self._configurations else self.snapshot.configuration

    @property
    def configuration_index(self) -> int:
        """Where it stands; the snapshot's index when the snapshot brought it."""
        return self._configurations[-1][0] if self._configurations else self.snapshot.index

    def configuration_at(self, index: int) -> Configuration:
        """Return the newest configuration up to that place, which the snapshot reaches or a later one."""
        for place, configuration in reversed(self._configurations):
            if place <= index:
                return configuration
        return self.snapshot.configuration

    def entry(self, index: int) -> Entry:
        """Return an entry that is held."""
        assert self._first_index <= index <= self.last_index
        return self._entries[index - self._first_index]

    def entries(self, first: int, last: int) -> tuple[Entry, ...]:
        """Return held entries, both ends included."""
        assert first > last or self._first_index <= first <= last <= self.last_index
        return tuple(self._entries[first - self._first_index : last + 1 - self._first_index])

    def entries_within(self, first: int, limit_bytes: int) -> tuple[tuple[Entry, ...], int]:
        """Return entries from `first` on, and their weight, up to a limit that only the first one may exceed."""
        size = 0
        last = first - 1
        for position in range(first - self._first_index, len(self._entries)):
            entry_size = weigh(self._entries[position])
            if size and size + entry_size > limit_bytes:
                break
            size += entry_size
            last += 1
        return self.entries(first, last), size

    def weigh_between(self, first: int, last: int) -> int:
        """Return what held entries weigh together, both ends included."""
        entries = self.entries(first, last)
        return sum([len(entry.data) for entry in entries]) + ENTRY_OVERHEAD_BYTES * len(entries)

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at that place; None when the log does not reach there or no longer knows."""
        if self._first_index <= index <= self.last_index:
            return self._entries[index - self._first_index].term
        if index == self._first_index - 1:
            return self._term_before
        return None

    def commands_through(self, index: int) -> int:
        """Count the commands of the whole log up to and including a held place."""
        if index == self.snapshot.index and index < self._first_index:
            return self.snapshot.commands
        entry = self.entry(index)
        return entry.first_command - 1 + entry.command_count

    def is_up_to_date(self, last_term: int, last_index: int) -> bool:
        """Tell whether a log that ends there is at least as up to date as ours (5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def first_conflict(self, entries: Sequence[Entry]) -> int:
        """Return the position among `entries` of the first that we lack or hold with another term (5.3)."""
        for position, entry in enumerate(entries):
            if self.term_at(entry.index) != entry.term:
                return position
        return len(entries)

    def first_index_of_term_at(self, index: int) -> int:
        """Return the oldest held place with the same term as the one at `index`: where a conflict begins (5.3)."""
        position = bisect_left(self._entries, self.entry(index).term, key=_term)
        return self._first_index + position

    def last_index_with_term_at_most(self, index: int, term: int) -> int:
        """Return the newest place up to `index` with such a term; `index` itself when it is outside of the log."""
        if not self._first_index - 1 <= index <= self.last_index:
            return index
        held = index + 1 - self._first_index
        position = bisect_right(self._entries, term, hi=held, key=_term)
        if position == 0 and (self._term_before is None or self._term_before > term):
            return self._first_index - 2
        return self._first_index + position - 1

    def may_vote_after(self, index: int, member_id: int) -> bool:
        """Tell whether that member votes in the configuration in force at that place, or in a newer one."""
        newer = [configuration for place, configuration in self._configurations if place > index]
        return any(Quorum.of(each).includes(member_id) for each in (self.configuration_at(index), *newer))

    def describe_snapshot(self, index: int) -> SnapshotMeta:
        """Return what a snapshot of the state after that place stands for."""
        if index == self.snapshot.index:
            return self.snapshot
        assert index > self.snapshot.index
        entry = self.entry(index)
        return SnapshotMeta(
            index=index,
            term=entry.term,
            commands=self.commands_through(index),
            time_ns=entry.time_ns,
            configuration=self.configuration_at(index),
        )

    def append(self, entry: Entry) -> None:
        """Add an entry at the end."""
        assert entry.index == self.last_index + 1
        self._entries.append(entry)
        self.last_index = entry.index
        if entry.kind is EntryKind.CONFIGURATION:
            self._note_configuration(entry)

    def truncate(self, last_index: int) -> None:
        """Forget what is above; a configuration among it is undone (4.1)."""
        assert self._first_index - 1 <= last_index <= self.last_index
        del self._entries[last_index + 1 - self._first_index :]
        self.last_index = last_index
        while self._configurations and self._configurations[-1][0] > last_index:
            self._configurations.pop()
        if last_index < self._handed_out:
            self._truncate_after = self._handed_out = last_index

    def compact(self, snapshot: SnapshotMeta, keep_entries: int) -> None:
        """Let a newer snapshot of our own stand for what is before it; keep some entries for slow followers."""
        if snapshot.index <= self.snapshot.index:
            return
        assert snapshot.index <= self._handed_out, "only what was applied is in a snapshot"
        self.snapshot = snapshot
        self._configurations = [place for place in self._configurations if place[0] > snapshot.index]
        keep_from = max(self._first_index, snapshot.index + 1 - keep_entries)
        if keep_from > self._first_index:
            self._term_before = self.term_at(keep_from - 1)
            del self._entries[: keep_from - self._first_index]
            self._first_index = keep_from

    def replace(self, snapshot: SnapshotMeta) -> None:
        """Discard the whole log for a snapshot that came from the leader (section 7)."""
        self.snapshot = snapshot
        self._entries.clear()
        self._configurations.clear()
        self._first_index = snapshot.index + 1
        self.last_index = snapshot.index
        self._term_before = snapshot.term
        self._handed_out = snapshot.index
        self._truncate_after = None

    @property
    def has_unwritten(self) -> bool:
        """Tell whether the disk lacks something."""
        return self._truncate_after is not None or self._handed_out < self.last_index

    def take_unwritten(self) -> tuple[int | None, tuple[Entry, ...]]:
        """Hand out what the disk lacks: where to cut first, and what to append."""
        truncate_after, self._truncate_after = self._truncate_after, None
        entries = self.entries(self._handed_out + 1, self.last_index)
        self._handed_out = self.last_index
        return truncate_after, entries

    def _note_configuration(self, entry: Entry) -> None:
        configuration = read_configuration(entry)
        if configuration is None:  # Peers' entries are checked before they get here: this one is from our disk.
            raise CorruptLog(f"entry {entry.index} should be a configuration and is not; rejoin or restore this member")
        self._configurations.append((entry.index, configuration))


def weigh(entry: Entry) -> int:
    """Return what an entry counts for in windows and limits."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


def _term(entry: Entry) -> int:
    return entry.term


def _continues(snapshot: SnapshotMeta, entries: Sequence[Entry]) -> bool:
    """Tell whether these entries belong to the log that the snapshot is a state of."""
    first = entries[0].index
    assert first <= snapshot.index + 1, "a gap between snapshot and log"
    if first == snapshot.index + 1:
        return True
    if entries[-1].index < snapshot.index:
        return False
    return snapshot.index == 0 or entries[snapshot.index - first].term == snapshot.term
