"""The log being written: one segment after another, each naming the last record of the one before.

A start, a conflict truncation, an installed snapshot and a full segment begin a new one. The log holds of its older
segments only their numbers and where the log ended in each, which is what compaction asks for. Files of segments that
are not needed any more become spares: to begin a segment in one costs two syncs, and to write zeros some 10 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs

from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.files import Place, make_directory, remove_temporary
from raftswarm.storage.records import Content, encode_content
from raftswarm.storage.replay import Position, Replayed
from raftswarm.storage.rules import StorageRule
from raftswarm.storage.sealing import key_id
from raftswarm.storage.segment import (
    SPARE_SUFFIX,
    Follows,
    SegmentHeader,
    SegmentWriter,
    sealed_under,
    segment_name,
    segment_size,
)

DEFAULT_SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""What is zeroed at a start, and for a new segment when there is no spare."""
MAX_SPARE_BYTES: Final = 64 * 1024 * 1024
"""Of files that wait to be used again; what is more is removed."""


@attrs.define
class _Finished:
    """A segment that is no longer written."""

    number: int
    last_index: int
    """Where the log ended with it: what it holds above that, a later segment truncates."""
    follows_snapshot: int | None
    sealed_under: bytes
    """Id of the data key."""


class Log:
    """Appends to the newest segment, begins the next, removes the oldest."""

    def __init__(self, place: Place, segment_bytes: int, header: SegmentHeader, first: Write | None = None) -> None:
        """Begin a segment; `begin` and `resume` say which. With a first write, both are durable together."""
        self._place = place
        self._segment_bytes = segment_bytes
        self._finished: deque[_Finished] = deque()
        self._spares = _find_spares(place)
        if place.earlier_keys:
            self._remove_spares()
        self._hard_state = header.hard_state
        self._last_index = header.first_index - 1
        payload = b"" if first is None else encode_content(Content.of(first))
        self._writer = self._begin(header, len(payload), payload)
        if first is not None:
            self._written(first)

    @classmethod
    def begin(
        cls,
        place: Place,
        segment_bytes: int,
        *,
        member_id: int,
        cluster: str,
        incarnation: int,
        behind: tuple[SnapshotMeta, bytes] | None = None,
        first: Write | None = None,
    ) -> Log:
        """Begin a member's first segment, behind a received snapshot and its tag if there is one.

        Its boot number is 0: it has not been started yet.
        """
        make_directory(place.disk, place.directory)
        header = SegmentHeader(
            number=1,
            cluster=cluster,
            member_id=member_id,
            incarnation=incarnation,
            boot=0,
            hard_state=HardState(),
            first_index=1,
            follows=Follows.NOTHING,
            epoch=place.epoch,
        )
        if behind is not None:
            header = _behind_snapshot(header, *behind)
        return cls(place, segment_bytes, header, first)

    @classmethod
    def resume(cls, place: Place, segment_bytes: int, replayed: Replayed, first: Write | None = None) -> Log:
        """Cut what is torn, and begin the segment of a new run with the next boot number, in the epoch of `place`."""
        if replayed.torn_bytes:
            place.because(StorageRule.TORN_TAIL_CUT, size=replayed.torn_bytes)
        oldest = replayed.segments[0].header
        if oldest.follows is Follows.SEGMENT and replayed.obsolete:
            place.because(StorageRule.GAP_FOUND, number=oldest.number)
        newest = replayed.segments[-1]
        _settle(place, newest.header.number, newest.end)
        end = replayed.end
        log = cls(
            place,
            segment_bytes,
            attrs.evolve(
                newest.header,
                number=end.segment + 1,
                boot=newest.header.boot + 1,
                hard_state=replayed.hard_state,
                first_index=replayed.last_index + 1,
                follows=Follows.SEGMENT,
                follows_position=end.record,
                follows_term=0,
                follows_tag=end.tag,
                epoch=place.epoch,
            ),
            first,
        )
        log._finished.extend(
            _Finished(
                segment.header.number, segment.last_index, _followed_snapshot(segment.header), segment.sealed_under
            )
            for segment in replayed.segments
        )
        if replayed.obsolete:
            place.because(StorageRule.VOID_REMOVED, count=len(replayed.obsolete))
        log._remove(replayed.obsolete)
        return log

    @property
    def place(self) -> Place:
        """Where it is, and how it is sealed."""
        return self._place

    @property
    def end(self) -> Position:
        """The newest record."""
        return Position(self._writer.header.number, self._writer.records, self._writer.tag)

    @property
    def boot(self) -> int:
        """The run that writes it."""
        return self._writer.header.boot

    @property
    def last_index(self) -> int:
        """Where the log ends."""
        return self._last_index

    @property
    def is_marked(self) -> bool:
        """Tell whether something behind the newest record says that it was synced."""
        return self._writer.is_covered

    def append(self, write: Write) -> None:
        """Write and sync; on return all of it is durable. After DiskFull nothing of it counts: it may come again."""
        payload = encode_content(Content.of(write))
        if write.truncate_after is not None or not self._writer.has_room(len(payload)):
            self._tell_why(write)
            self._begin_next(len(payload))
        self._writer.append(payload)
        self._written(write)

    def _written(self, write: Write) -> None:
        self._hard_state = write.hard_state or self._hard_state
        if write.truncate_after is not None:
            self._last_index = min(self._last_index, write.truncate_after)
        if write.entries:
            self._last_index = write.entries[-1].index

    def _tell_why(self, write: Write) -> None:
        number = self._writer.header.number + 1
        if write.truncate_after is not None:
            self._place.because(StorageRule.SEGMENT_CUT, number=number, last_index=write.truncate_after)
        else:
            self._place.because(StorageRule.SEGMENT_FULL, number=number)

    def mark(self) -> None:
        """Say that all of it was synced."""
        if self._writer.mark():
            self._place.because(StorageRule.MARKED, number=self._writer.header.number)

    def follow(self, snapshot: SnapshotMeta, tag: bytes) -> None:
        """Begin an empty log behind a received snapshot; the header that names it is what installs it."""
        number = self._writer.header.number + 1
        self._place.because(StorageRule.SEGMENT_FOLLOWS_SNAPSHOT, number=number, index=snapshot.index)
        header = attrs.evolve(self._writer.header, number=number, hard_state=self._hard_state)
        obsolete = [finished.number for finished in self._finished] + [self._writer.header.number]
        self._begin_behind(_behind_snapshot(header, snapshot, tag), 0)
        self._last_index = snapshot.index
        self._finished.clear()
        self._remove(obsolete)

    def compact(self, first_index: int, snapshot_index: int) -> None:
        """Remove the oldest segments while all their entries lie before `first_index`.

        The segment that says that the newest snapshot is installed stays: without it a received snapshot counts for
        nothing.
        """
        removable: list[int] = []
        for finished in self._finished:
            if finished.last_index >= first_index:
                break
            if finished.follows_snapshot == snapshot_index:
                self._place.because(StorageRule.INSTALLING_SEGMENT_KEPT, number=finished.number)
                break
            removable.append(finished.number)
        if removable:
            self._place.because(StorageRule.SEGMENTS_REMOVED, count=len(removable))
        for _ in removable:
            self._finished.popleft()
        self._remove(removable)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._writer.close()

    # Another data key.

    def seal_with(self, place: Place) -> None:
        """Write under the key of `place` from now on, in a new segment. Spares hold what others sealed: they go."""
        self._remove_spares()
        self._place = place
        self._begin_next(0)

    @property
    def earlier_until(self) -> int:
        """The last index of the segments that an earlier key sealed; 0 if there are none."""
        present = self._writer.sealed_under
        return max((old.last_index for old in self._finished if old.sealed_under != present), default=0)

    def let_go(self, covered_index: int) -> bool:
        """Remove segments of earlier keys whose entries a snapshot covers; True if none is left."""
        removable: list[int] = []
        while self._finished and self._finished[0].sealed_under != self._writer.sealed_under:
            if self._finished[0].last_index > covered_index:
                break
            removable.append(self._finished.popleft().number)
        self._remove(removable)
        return not self._finished or self._finished[0].sealed_under == self._writer.sealed_under

    def forget_earlier(self) -> None:
        """Nothing is left that an earlier key sealed: files of removed segments may be used again."""
        self._place = attrs.evolve(self._place, earlier_keys=())

    def _remove_spares(self) -> None:
        for spare in self._spares:
            self._place.disk.remove(self._place.path(spare))
        if self._spares:
            self._place.disk.sync_directory(self._place.directory)
        self._spares = []

    # Segments.

    def _begin_next(self, payload_bytes: int) -> None:
        header = self._writer.header
        end = self.end
        sealed_under_before = self._writer.sealed_under
        following = attrs.evolve(
            header,
            number=header.number + 1,
            hard_state=self._hard_state,
            first_index=self._last_index + 1,
            follows=Follows.SEGMENT,
            follows_position=end.record,
            follows_term=0,
            follows_tag=end.tag,
        )
        self._begin_behind(following, payload_bytes)
        followed = _followed_snapshot(header)
        self._finished.append(_Finished(header.number, self._last_index, followed, sealed_under_before))

    def _begin_behind(self, header: SegmentHeader, payload_bytes: int) -> None:
        """Begin the next one, then end the one before: on a full disk that stays as it is, to be tried again."""
        before, self._writer = self._writer, self._begin(header, payload_bytes)
        before.finish()

    def _begin(self, header: SegmentHeader, payload_bytes: int, first: bytes = b"") -> SegmentWriter:
        size = max(self._segment_bytes, segment_size(payload_bytes))
        if self._spares:
            self._place.because(StorageRule.SPARE_USED, number=header.number)
        return SegmentWriter(self._place, header, size, self._spares.pop() if self._spares else None, first)

    def _remove(self, numbers: Sequence[int]) -> None:
        """Keep their files as spares, as many as there may be. No spare is used before the directory says it is one.

        None is kept while there may be some in which an earlier data key sealed something.
        """
        disk, place = self._place.disk, self._place
        for number in numbers:
            name = segment_name(number)
            if not place.earlier_keys and (len(self._spares) + 1) * self._segment_bytes <= MAX_SPARE_BYTES:
                disk.rename(place.path(name), place.path(name + SPARE_SUFFIX))
                self._spares.append(name + SPARE_SUFFIX)
            else:
                disk.remove(place.path(name))
        if numbers:
            disk.sync_directory(place.directory)


def _behind_snapshot(header: SegmentHeader, snapshot: SnapshotMeta, tag: bytes) -> SegmentHeader:
    """Let a segment follow a received snapshot; its naming it is what installs it."""
    return attrs.evolve(
        header,
        first_index=snapshot.index + 1,
        follows=Follows.SNAPSHOT,
        follows_position=snapshot.index,
        follows_term=snapshot.term,
        follows_tag=tag,
    )


def _followed_snapshot(header: SegmentHeader) -> int | None:
    return header.follows_position if header.follows is Follows.SNAPSHOT else None


def _find_spares(place: Place) -> list[str]:
    """Return those that were sealed as the log is now. Others hold what a retired key opens: they are removed.

    Whoever made them may have died before the directory said so. Were one used now, and the power failed, its old name
    would hold the segment that was begun in it.
    """
    spares: list[str] = []
    ours = key_id(place.data_key)
    for name in place.disk.list(place.directory):
        if not name.endswith(SPARE_SUFFIX):
            continue
        file = place.disk.open(place.path(name))
        try:
            is_ours = sealed_under(file) == ours
        finally:
            file.close()
        if is_ours:
            spares.append(name)
        else:
            place.disk.remove(place.path(name))
    if spares:
        place.disk.sync_directory(place.directory)
    return spares


def _settle(place: Place, number: int, end: int) -> None:
    """Make durable what was read of an earlier run's newest segment, and cut the rest.

    What was read may still have been on its way to the disk: the next segment must not follow what can yet be lost.
    The names that were read are made durable together with that of the next segment.
    """
    for name in remove_temporary(place.disk, place.directory):
        place.because(StorageRule.UNFINISHED_REMOVED, name=name)
    file = place.disk.open(place.path(segment_name(number)))
    try:
        file.truncate(end)
        file.sync()
    finally:
        file.close()
