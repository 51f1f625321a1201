"""One record: a write to the log, sealed, behind a clear header that tells a reader where it belongs.

The header lets a reader step over a damaged record and still judge what lies behind it: it carries its segment, its
number, the tag of the record before it and `durable_upto`, the last record the writer knew to be synced. All of it is
associated data of the seal, so a record that opens also stands for its header. See docs/formats.md.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import Final

import msgspec

from raftswarm.raft.log_entry import Entry, HardState
from raftswarm.raft.ready import Write
from raftswarm.storage.sealing import TAG_BYTES, Damaged, Seal

SECTOR: Final = 512
"""Records begin on multiples of this: what a disk writes at once, or not at all."""

_MAGIC: Final = b"RSWR"
_PLACE: Final = struct.Struct(">4sQ")
_HEADER: Final = struct.Struct(">4sQQIQ16s")
_CHECKSUM: Final = struct.Struct(">I")
_CHECKED_HEADER: Final = struct.Struct(">4sQQIQ16sI")
HEADER_BYTES: Final = _CHECKED_HEADER.size


class Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a record holds of a `Write`, in the order in which it takes effect."""

    term: int | None
    """With `voted_for`, the new hard state; None when it did not change."""
    voted_for: int
    truncate_after: int | None
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, write: Write) -> Content:
        """Take what has to last from a member's write."""
        hard_state = write.hard_state
        return cls(
            None if hard_state is None else hard_state.term,
            0 if hard_state is None else hard_state.voted_for,
            write.truncate_after,
            write.entries,
        )

    @property
    def hard_state(self) -> HardState | None:
        """Term and vote, if this record changed them."""
        return None if self.term is None else HardState(term=self.term, voted_for=self.voted_for)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Content)


def encode_content(content: Content) -> bytes:
    """Return the bytes a record seals. A mark seals none."""
    return _encoder.encode(content)


def decode_content(payload: bytes) -> Content | None:
    """Return what a record holds, None for a mark; Damaged if it makes no sense."""
    if not payload:
        return None
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise Damaged(f"it opens, but holds no write to a log: {error}") from error


class RecordHeader(msgspec.Struct, frozen=True, gc=False):
    """The clear part."""

    segment: int
    number: int
    """Counts the records of the segment from 1, and is the seal's nonce; the segment's own header is number 0."""
    length: int
    """Bytes of the payload, without the seal's 16."""
    durable_upto: int
    previous_tag: bytes

    @property
    def size(self) -> int:
        """Bytes on disk, up to where the next record may begin."""
        return record_size(self.length)

    def encode(self) -> bytes:
        """Return the bytes, with their checksum."""
        clear = _HEADER.pack(_MAGIC, self.segment, self.number, self.length, self.durable_upto, self.previous_tag)
        return clear + _CHECKSUM.pack(zlib.crc32(clear))

    @classmethod
    def parse(cls, image: bytes, offset: int) -> RecordHeader:
        """Read the header at `offset`; Damaged if there is none."""
        if len(image) < offset + HEADER_BYTES or not image.startswith(_MAGIC, offset):
            raise Damaged("no record begins here")
        _, segment, number, length, durable_upto, tag, checksum = _CHECKED_HEADER.unpack_from(image, offset)
        if zlib.crc32(image[offset : offset + _HEADER.size]) != checksum:
            raise Damaged("the checksum of the record's header does not fit")
        return cls(segment, number, length, durable_upto, tag)


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record that opened: every bit of it is as it was written."""

    offset: int
    """Where it begins in its segment."""
    header: RecordHeader
    payload: bytes
    tag: bytes

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.offset + self.header.size


def whole_sectors(size: int) -> int:
    """Round up."""
    return -(-size // SECTOR) * SECTOR


def record_size(payload_bytes: int) -> int:
    """Bytes that a record with such a payload takes up."""
    return whole_sectors(HEADER_BYTES + payload_bytes + TAG_BYTES)


def seal_record(seal: Seal, header: RecordHeader, payload: bytes) -> tuple[list[bytes], bytes]:
    """Return the buffers to write, whole sectors in sum, and the record's tag."""
    clear = header.encode()
    sealed = seal.close(header.number, payload, clear)
    padding = bytes(header.size - len(clear) - len(sealed))
    return [clear, sealed, padding], sealed[-TAG_BYTES:]


def open_record(seal: Seal, segment: int, image: bytes, offset: int) -> Record:
    """Return the record that begins at `offset` of its segment's image; Damaged if none does or it does not open."""
    header = RecordHeader.parse(image, offset)
    if header.segment != segment:
        raise Damaged(f"a record of segment {header.segment} stands here")
    begin = offset + HEADER_BYTES
    end = begin + header.length + TAG_BYTES
    if end > len(image):
        raise Damaged("the file ends within the record")
    payload = seal.open(header.number, image[begin:end], image[offset:begin])
    if image[end : whole_sectors(end)].strip(b"\0"):
        raise Damaged("what fills up the record's last sector is not zero")
    return Record(offset, header, payload, image[end - TAG_BYTES : end])


def open_chain(seal: Seal, segment: int, image: bytes, offset: int, tag: bytes) -> list[Record]:
    """Return the records from `offset` on while each opens, is numbered next and names the tag of the one before it.

    What stopped it `open_record` can say: the checks are the same, in one loop, since a start reads the whole log.
    """
    unpack, checksum_of, unseal, size = _CHECKED_HEADER.unpack_from, zlib.crc32, seal.open, len(image)
    records: list[Record] = []
    number = 1
    while (begin := offset + HEADER_BYTES) <= size:
        magic, its_segment, its_number, length, durable_upto, previous_tag, checksum = unpack(image, offset)
        if magic != _MAGIC or its_segment != segment or its_number != number or previous_tag != tag:
            break
        end = begin + length + TAG_BYTES
        if end > size or checksum_of(image[offset : begin - _CHECKSUM.size]) != checksum:
            break
        try:
            payload = unseal(number, image[begin:end], image[offset:begin])
        except Damaged:
            break
        next_offset = whole_sectors(end)
        if image[end:next_offset].strip(b"\0"):
            break
        header = RecordHeader(segment, number, length, durable_upto, tag)
        tag = image[end - TAG_BYTES : end]
        records.append(Record(offset, header, payload, tag))
        number += 1
        offset = next_offset
    return records


def find_records(seal: Seal, segment: int, image: bytes, offset: int) -> list[Record]:
    """Return every record of this segment that opens, from `offset` on, whatever lies between."""
    place = _PLACE.pack(_MAGIC, segment)
    found: list[Record] = []
    while (offset := image.find(place, offset)) >= 0:
        if offset % SECTOR == 0:
            with suppress(Damaged):
                found.append(open_record(seal, segment, image, offset))
        offset += 1
    return found
