"""One file of the log. Its authenticated header says whose it is, under which key, and what it follows.

A segment is written by one run of one member and never reopened for writing: so no nonce repeats, and stale bytes of
another life cannot pass for records of this one. Its file has its full length before its first record, because writing
into blocks that are there already makes a sync cheaper than growing the file: it is zeroed, or a spare, which is the
file of a segment that nobody needs any more and keeps what is in it until that is written over.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from enum import IntEnum
from typing import Final

import attrs

from raftswarm.errors import DiskFailed, DiskFull, ForeignState, InvalidKey
from raftswarm.raft.log_entry import HardState
from raftswarm.storage.files import TEMPORARY_SUFFIX, Place, once_only
from raftswarm.storage.records import (
    SECTOR,
    Record,
    RecordHeader,
    find_records,
    open_chain,
    open_record,
    record_size,
    seal_record,
    whole_sectors,
)
from raftswarm.storage.sealing import KEY_ID_BYTES, SALT_BYTES, SEGMENT, TAG_BYTES, Damaged, Seal, find_key, key_id
from raftswarm.world.disk import File

FORMAT_VERSION: Final = 1
SUFFIX: Final = ".segment"
SPARE_SUFFIX: Final = ".spare"
MAX_CLUSTER_BYTES: Final = 128
EPOCH_BYTES: Final = 6

_MAGIC: Final = b"RSWMLOG\n"
_HEADER: Final = struct.Struct(">8sHB5xQQQQQQQQQ16s32s8sH128s6s212x")
_CHECKSUM: Final = struct.Struct(">I")
_CLEAR_BYTES: Final = _HEADER.size + _CHECKSUM.size
KEY_ID_AT: Final = 136
"""Where the header says which data key sealed it."""
WASTE: Final = 4
"""A finished segment keeps what was not used of it, up to one part in so many: then it makes a spare as it is."""
_ZEROS: Final = bytes(256 * 1024)
assert _CLEAR_BYTES + TAG_BYTES == SECTOR


class Follows(IntEnum):
    """What a segment continues."""

    NOTHING = 0
    """The first of a member."""
    SEGMENT = 1
    """The one numbered one less, up to the record that has this number and tag; what lies behind that is cut."""
    SNAPSHOT = 2
    """A received snapshot of this index, term and tag; older segments are void."""


@attrs.frozen(kw_only=True)
class SegmentHeader:
    """The first sector: number 0 among the segment's records."""

    number: int
    cluster: str
    member_id: int
    incarnation: int
    boot: int
    hard_state: HardState
    """In force when the segment was begun, so that no older segment is needed for it."""
    first_index: int
    """One past the log's last entry when the segment was begun."""
    follows: Follows
    follows_position: int = 0
    follows_term: int = 0
    follows_tag: bytes = bytes(TAG_BYTES)
    epoch: int = 0
    """Of the cluster: higher after it was recovered or restored; members of different epochs do not speak."""

    def encode(self, seal: Seal, salt: bytes, sealed_under: bytes) -> bytes:
        """Return the sector, sealed with the segment's own seal: made of this salt, and of the key of that name."""
        cluster = self.cluster.encode()
        fields = _HEADER.pack(
            _MAGIC,
            FORMAT_VERSION,
            self.follows,
            self.number,
            self.member_id,
            self.incarnation,
            self.boot,
            self.hard_state.term,
            self.hard_state.voted_for,
            self.first_index,
            self.follows_position,
            self.follows_term,
            self.follows_tag,
            salt,
            sealed_under,
            len(cluster),
            cluster,
            self.epoch.to_bytes(EPOCH_BYTES, "big"),
        )
        clear = fields + _CHECKSUM.pack(zlib.crc32(fields))
        return clear + seal.close(0, b"", clear)


@attrs.frozen
class OpenSegment:
    """A segment whose header opened."""

    header: SegmentHeader
    seal: Seal
    tag: bytes
    """The header's: what the first record names as the one before it."""
    sealed_under: bytes
    """Id of the data key."""

    @classmethod
    def parse(cls, sector: bytes, data_key: bytes, path: str, earlier_keys: tuple[bytes, ...] = ()) -> OpenSegment:
        """Read a header; Damaged, or ForeignState and InvalidKey when it is whole but not for us."""
        if len(sector) < SECTOR or not sector.startswith(_MAGIC):
            raise Damaged("the header of the segment is not there")
        fields = sector[: _HEADER.size]
        if sector[_HEADER.size : _CLEAR_BYTES] != _CHECKSUM.pack(zlib.crc32(fields)):
            raise Damaged("the checksum of the segment's header does not fit")
        (
            _, version, follows, number, member_id, incarnation, boot, term, voted_for,
            first_index, position, follows_term, follows_tag, salt, written_under, cluster_length, cluster, epoch,
        ) = _HEADER.unpack(fields)  # fmt: skip
        if version != FORMAT_VERSION:
            raise ForeignState(
                f"{path} has log format {version}; this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
            )
        key = find_key(written_under, (data_key, *earlier_keys))
        if key is None:
            raise InvalidKey(f"{path} was sealed under another node's key; put its own keys beside it, or join again")
        seal = Seal(key, salt, SEGMENT)
        seal.open(0, sector[_CLEAR_BYTES:], sector[:_CLEAR_BYTES])
        header = SegmentHeader(
            number=number,
            cluster=cluster[:cluster_length].decode(),
            member_id=member_id,
            incarnation=incarnation,
            boot=boot,
            hard_state=HardState(term=term, voted_for=voted_for),
            first_index=first_index,
            follows=Follows(follows),
            follows_position=position,
            follows_term=follows_term,
            follows_tag=follows_tag,
            epoch=int.from_bytes(epoch, "big"),
        )
        return cls(header, seal, sector[_CLEAR_BYTES:], written_under)


def sealed_under(file: File) -> bytes:
    """Return the id of the data key that a segment's header names; nothing else of it is looked at."""
    return file.read(KEY_ID_AT, KEY_ID_BYTES)


def segment_name(number: int) -> str:
    """Name files so that their order is that of the log."""
    return f"{number:020d}{SUFFIX}"


def segment_number(name: str) -> int | None:
    """Return the number in a file's name; None if it is no segment's."""
    digits = name.removesuffix(SUFFIX)
    return int(digits) if digits != name and digits.isascii() and digits.isdigit() else None


@attrs.frozen
class Break:
    """Where the chain of good records ends before the file does."""

    offset: int
    reason: str
    proven_durable: bool
    """Something behind it says that what stood here had been synced: not a torn tail but damage."""
    size: int
    """Bytes from there to the last that is not zero; in a file that was a spare, most are of its earlier life."""


def read_records(segment: OpenSegment, image: bytes) -> tuple[list[Record], Break | None]:
    """Return the segment's records in order, as far as they go, and what stopped the reading short of zeros."""
    records = open_chain(segment.seal, segment.header.number, image, SECTOR, segment.tag)
    offset = records[-1].end if records else SECTOR
    written = len(image.rstrip(b"\0"))
    if written <= offset:
        return records, None
    missing = len(records) + 1
    reason = _why_broken(segment, image, offset, missing)
    return records, Break(offset, reason, _is_proven_durable(segment, image, offset, missing), written - offset)


def _why_broken(segment: OpenSegment, image: bytes, offset: int, missing: int) -> str:
    try:
        record = open_record(segment.seal, segment.header.number, image, offset)
    except Damaged as damage:
        return str(damage)
    number = record.header.number
    return f"record {number} stands where {missing} belongs" if number != missing else "it follows another record"


def _is_proven_durable(segment: OpenSegment, image: bytes, offset: int, missing: int) -> bool:
    """Judge a break by what lies behind it (docs/formats.md).

    A later record whose writer knew the missing one to be synced proves damage. So does a record that belongs before
    the break, or at it: only a disk, or a hand, that moves records can put one there.
    """
    for record in find_records(segment.seal, segment.header.number, image, offset):
        if record.header.durable_upto >= missing or record.header.number <= missing:
            return True
    return False


class SegmentWriter:
    """The newest segment, being written. Every append is durable on return."""

    def __init__(
        self, place: Place, header: SegmentHeader, size: int, spare: str | None = None, first: bytes = b""
    ) -> None:
        """Begin it, in a spare file if there is one: its header is synced under another name before it gets its own.

        So is a first record, if there is one: whoever finds the segment finds both. After DiskFull nothing of it is
        there, and another one may be begun.
        """
        salt = place.entropy.token_bytes(SALT_BYTES)
        self._seal = Seal(place.data_key, salt, SEGMENT)
        self.sealed_under = key_id(place.data_key)
        sector = header.encode(self._seal, salt, self.sealed_under)
        path = place.path(segment_name(header.number))
        self.header = header
        self.tag = sector[-TAG_BYTES:]
        self.records = 0
        self._path = path
        self._size = whole_sectors(size)
        self._offset = SECTOR
        self._is_covered = True
        """Whether the last record is a mark, or the header: nothing acknowledged depends on it."""
        self._is_spoiled = False
        """Part of a record may stand behind the last one; nothing else must be sealed under its number."""
        if spare is not None:
            place.disk.rename(place.path(spare), path + TEMPORARY_SUFFIX)
        self._file = place.disk.open(path + TEMPORARY_SUFFIX, create=True)
        try:
            _make_whole(self._file, self._size)
            self._file.write(0, [sector])
            self._file.sync()
            if first:
                self.append(first)
            place.disk.rename(path + TEMPORARY_SUFFIX, path)
            with once_only(f"could not begin {path}"):
                place.disk.sync_directory(place.directory)
        except BaseException as error:
            self._file.close()
            if isinstance(error, (OSError, DiskFull)):
                with suppress(OSError, DiskFailed):
                    place.disk.remove(path + TEMPORARY_SUFFIX)
            raise

    @property
    def is_covered(self) -> bool:
        """Tell whether nothing acknowledged depends on the last record: it is a mark, or the header."""
        return self._is_covered and not self._is_spoiled

    def has_room(self, payload_bytes: int) -> bool:
        """Tell whether such a record may still be written here, with the mark that may follow it."""
        return not self._is_spoiled and self._offset + record_size(payload_bytes) + record_size(0) <= self._size

    def append(self, payload: bytes) -> None:
        """Seal, write and sync one record. After DiskFull nothing of it counts; what comes next needs a new segment."""
        header = RecordHeader(
            segment=self.header.number,
            number=self.records + 1,
            length=len(payload),
            durable_upto=self.records,  # Each append is synced before the next begins.
            previous_tag=self.tag,
        )
        buffers, tag = seal_record(self._seal, header, payload)
        self._is_spoiled = True
        self._file.write(self._offset, buffers)
        with once_only(f"could not write to {self._path}"):
            self._file.sync()
        self._is_spoiled = False
        self.records = header.number
        self.tag = tag
        self._offset += header.size
        self._is_covered = not payload

    def mark(self) -> bool:
        """Let an empty record say that the last one was synced; False if one does already, or there is no place."""
        if self._is_covered or self._is_spoiled:
            return False
        self.append(b"")
        return True

    def finish(self) -> None:
        """Give back what was not used, if that is much; the next segment's header covers the last record."""
        with once_only(f"could not end {self._path}"):
            if self._size - self._offset > self._size // WASTE:
                self._file.truncate(self._offset)
                self._file.sync()
        self._file.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


def segment_size(payload_bytes: int) -> int:
    """Bytes of the smallest segment that has room for one such record."""
    return SECTOR + record_size(payload_bytes) + record_size(0)


def _make_whole(file: File, size: int) -> None:
    """Give the file that size, in blocks that are there."""
    if file.size() > size:
        file.truncate(size)
    for offset in range(file.size(), size, len(_ZEROS)):
        file.write(offset, [memoryview(_ZEROS)[: size - offset]])
