"""Reading the log back: the chain of segments from its start to its newest record, checked link by link.

Every segment but the newest was wholly synced before the next one was begun, and the next one names its last record:
so only the newest can have a torn tail. Whatever else is missing, moved or changed is damage, and a member that has
forgotten what it promised must not take part: `CorruptLog` (docs/formats.md).
"""

from __future__ import annotations

from typing import NoReturn

import attrs

from raftswarm.errors import CorruptLog, ForeignState
from raftswarm.raft.log_entry import Entry, HardState
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.storage.files import read_file
from raftswarm.storage.records import SECTOR, Content, Record, decode_content
from raftswarm.storage.rules import StorageRule
from raftswarm.storage.sealing import TAG_BYTES, Damaged
from raftswarm.storage.segment import (
    Follows,
    OpenSegment,
    SegmentHeader,
    read_records,
    segment_name,
    segment_number,
)
from raftswarm.world.disk import Disk

WAY_BACK = "take this member out, empty its directory and let it join again, or restore its state from a backup"


@attrs.frozen
class Position:
    """A record, by its place and what it was. The header of a segment is its record 0."""

    segment: int = 0
    record: int = 0
    tag: bytes = bytes(16)


@attrs.frozen
class ReadSegment:
    """A segment of the chain, and what its records were."""

    header: SegmentHeader
    tags: bytes
    """Of the header and of each record that counts, joined: a log of small writes has very many."""
    end: int
    """Offset behind the last record that counts."""
    last_index: int
    """Where the log ended with it."""
    sealed_under: bytes
    """Id of the data key."""

    @property
    def last_record(self) -> int:
        """Number of the last record that counts; 0 is the header."""
        return len(self.tags) // TAG_BYTES - 1

    def tag(self, record: int) -> bytes:
        """Return the tag of that record; of none it is empty."""
        return self.tags[record * TAG_BYTES : (record + 1) * TAG_BYTES]


@attrs.frozen(kw_only=True)
class Replayed:
    """The log as its records tell it."""

    segments: tuple[ReadSegment, ...]
    obsolete: tuple[int, ...]
    """Numbers of segments that an installed snapshot made void."""
    hard_state: HardState
    entries: tuple[Entry, ...]
    base_index: int
    """The index before the first entry."""
    last_index: int
    torn_bytes: int

    @property
    def header(self) -> SegmentHeader:
        """Of the segment that the log begins with: whose it is."""
        return self.segments[0].header

    @property
    def end(self) -> Position:
        """The newest record."""
        newest = self.segments[-1]
        return Position(newest.header.number, newest.last_record, newest.tag(newest.last_record))

    def entry(self, index: int) -> Entry:
        """Return the entry at `index`, after the base and not after the last."""
        return self.entries[index - self.base_index - 1]

    def holds(self, position: Position) -> bool:
        """Tell whether the chain passes through this record, or began after it."""
        first = self.segments[0].header.number
        if position.segment < first:
            return True
        if position.segment - first >= len(self.segments):
            return False
        return self.segments[position.segment - first].tag(position.record) == position.tag


def corrupt(path: str, offset: int, reason: str) -> NoReturn:
    """Refuse: file, place and the way back."""
    raise CorruptLog(f"{path} is damaged at byte {offset}: {reason}; {WAY_BACK}", path, offset, reason)


def replay(
    disk: Disk,
    directory: str,
    data_key: bytes,
    earlier_keys: tuple[bytes, ...] = (),
    named: RuleSink = ignore_rule,
) -> Replayed:
    """Read the whole chain; CorruptLog at the first link that is broken, ForeignState if there is none."""
    numbers = sorted(number for name in disk.list(directory) if (number := segment_number(name)) is not None)
    if not numbers:
        raise ForeignState(
            f"{directory} holds no log: this member was never created there, or its log was removed; put it back, or "
            f"{WAY_BACK}"
        )
    chain = _open_chain(disk, directory, (data_key, *earlier_keys), numbers)
    replaying = _Replaying(chain[0].header)
    segments: list[ReadSegment] = []
    torn_bytes = 0
    for segment, following in zip(chain, [*chain[1:], None], strict=True):
        path = f"{directory}/{segment_name(segment.header.number)}"
        if following is None:
            records, torn_bytes = _read_newest(disk, segment, path, named)
        else:
            records = _read_finished(disk, segment, path, following.header, named)
        segments.append(replaying.take(segment, records, path))
    return Replayed(
        segments=tuple(segments),
        obsolete=tuple(number for number in numbers if number < chain[0].header.number),
        hard_state=replaying.hard_state,
        entries=tuple(replaying.entries),
        base_index=replaying.base_index,
        last_index=replaying.last_index,
        torn_bytes=torn_bytes,
    )


def _open_chain(disk: Disk, directory: str, keys: tuple[bytes, ...], numbers: list[int]) -> list[OpenSegment]:
    """Open headers from the newest back to the one that began the chain, or to the oldest before which one is missing.

    Compaction removes segments from the front, and a crash may undo some of its removals and not others. So what lies
    before a gap counts for nothing; whether what lies behind it is enough is judged by the snapshot it must reach.
    """
    chain: list[OpenSegment] = []
    for number in reversed(numbers):
        path = f"{directory}/{segment_name(number)}"
        if chain and number != chain[0].header.number - 1:
            break
        segment = _open_segment(disk, path, keys)
        if segment.header.number != number:
            corrupt(path, 0, f"it is segment {segment.header.number} under another's name")
        if chain:
            _check_same_member(segment.header, chain[0].header, path)
        chain.insert(0, segment)
        if segment.header.follows is not Follows.SEGMENT:
            break
    return chain


def _open_segment(disk: Disk, path: str, keys: tuple[bytes, ...]) -> OpenSegment:
    file = disk.open(path)
    try:
        return OpenSegment.parse(file.read(0, SECTOR), keys[0], path, keys[1:])
    except Damaged as damage:
        corrupt(path, 0, str(damage))
    finally:
        file.close()


def _check_same_member(header: SegmentHeader, following: SegmentHeader, path: str) -> None:
    ours = (following.cluster, following.member_id, following.incarnation)
    is_later = header.boot > following.boot or header.epoch > following.epoch
    if (header.cluster, header.member_id, header.incarnation) != ours or is_later:
        corrupt(path, 0, "it belongs to another member's log")


def _read_newest(disk: Disk, segment: OpenSegment, path: str, named: RuleSink) -> tuple[list[Record], int]:
    """Return the records and how many bytes of a torn tail stand behind them."""
    records, broken = read_records(segment, read_file(disk, path))
    if broken is None:
        return records, 0
    if broken.proven_durable:
        named(StorageRule.DAMAGE_PROVEN, {"number": segment.header.number})
        corrupt(path, broken.offset, broken.reason)
    return records, broken.size


def _read_finished(
    disk: Disk, segment: OpenSegment, path: str, following: SegmentHeader, named: RuleSink
) -> list[Record]:
    """Return the records up to the one that the following segment names; what lies behind was cut by it."""
    records, broken = read_records(segment, read_file(disk, path))
    count = following.follows_position
    if count > len(records):
        named(StorageRule.DAMAGE_IN_FINISHED, {"number": segment.header.number})
        offset = broken.offset if broken else _end_of(records)
        corrupt(path, offset, broken.reason if broken else "the file ends before its last record")
    tag = records[count - 1].tag if count else segment.tag
    if tag != following.follows_tag:
        corrupt(path, 0, "it is not the segment that the next one follows")
    if count < len(records) or broken is not None:
        named(StorageRule.CUT_BY_NEXT, {"number": segment.header.number})
    return records[:count]


def _end_of(records: list[Record]) -> int:
    return records[-1].end if records else SECTOR


class _Replaying:
    """Term, vote and entries, as each record leaves them."""

    def __init__(self, first: SegmentHeader) -> None:
        self.hard_state = first.hard_state
        self.entries: list[Entry] = []
        self.base_index = self.last_index = first.first_index - 1

    def take(self, segment: OpenSegment, records: list[Record], path: str) -> ReadSegment:
        """Let the records of the next segment take effect."""
        header = segment.header
        if header.hard_state != self.hard_state or header.first_index != self.last_index + 1:
            corrupt(path, 0, "its header contradicts the segments before it")
        for record in records:
            try:
                content = decode_content(record.payload)
                if content is not None:
                    self._apply(content)
            except Damaged as damage:
                corrupt(path, record.offset, str(damage))
        tags = segment.tag + b"".join([record.tag for record in records])
        return ReadSegment(header, tags, _end_of(records), self.last_index, segment.sealed_under)

    def _apply(self, content: Content) -> None:
        if content.term is not None:
            self.hard_state = content.hard_state or self.hard_state
        if content.truncate_after is not None and content.truncate_after < self.last_index:
            self.last_index = content.truncate_after
            self.base_index = min(self.base_index, self.last_index)
            del self.entries[self.last_index - self.base_index :]
        last_index = self.last_index
        for entry in content.entries:
            if entry.index != last_index + 1:
                raise Damaged(f"entry {entry.index} follows entry {last_index}")
            last_index = entry.index
        self.entries += content.entries
        self.last_index = last_index
