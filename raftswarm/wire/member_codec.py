"""What Raft members say to each other, as bytes: messages, introductions, and snapshots in checked pieces.

Numbers that no member could have meant (negative, above 63 bits) stop here, so that nothing behind has to fear them.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

import msgspec

from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.messages import AnyMessage
from raftswarm.wire.codec import Codec
from raftswarm.wire.errors import WireError

MAX_NUMBER: Final = (1 << 63) - 1
SNAPSHOT_CHUNK_BYTES: Final = 256 * 1024


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """First frame on a member's lane: which member speaks, and which one it believes to have reached."""

    sender: int
    to: int


class SnapshotBegins(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What is coming."""

    snapshot: SnapshotMeta


class SnapshotChunk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One piece, with its own checksum."""

    data: bytes
    crc: int


class SnapshotEnds(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """That was all of it."""

    digest: bytes
    """SHA-256 of all the data."""


class SnapshotArrived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The receiver's answer: it is complete and checked."""


SnapshotPart = SnapshotBegins | SnapshotChunk | SnapshotEnds | SnapshotArrived

_messages: Codec[AnyMessage] = Codec(AnyMessage)
_introductions: Codec[Introduction] = Codec(Introduction)
_snapshot_parts: Codec[SnapshotPart] = Codec(SnapshotPart)

encode_message = _messages.encode
encode_introduction = _introductions.encode
encode_snapshot_part = _snapshot_parts.encode


def decode_message(frame: bytes) -> AnyMessage:
    """Read a member's message."""
    message = _messages.decode(frame)
    _check_numbers(message)
    return message


def decode_introduction(frame: bytes) -> Introduction:
    """Read which members meet on a link."""
    introduction = _introductions.decode(frame)
    _check_numbers(introduction)
    return introduction


def decode_snapshot_part(frame: bytes) -> SnapshotPart:
    """Read a part of a snapshot."""
    part = _snapshot_parts.decode(frame)
    _check_numbers(part)
    return part


def _check_numbers(value: object) -> None:
    match value:
        case int() if not 0 <= value <= MAX_NUMBER:
            raise WireError(f"no member can mean the number {value}")
        case tuple():
            for part in value:
                _check_numbers(part)
        case msgspec.Struct():
            for field in value.__struct_fields__:
                _check_numbers(getattr(value, field))
        case _:
            pass


def cut_chunk(data: bytes) -> SnapshotChunk:
    """Make a piece of a snapshot."""
    return SnapshotChunk(data=data, crc=zlib.crc32(data))


class SnapshotAssembly:
    """The receiving side: takes the parts in order and vouches for the whole."""

    def __init__(self, begins: SnapshotBegins, max_bytes: int) -> None:
        self.snapshot = begins.snapshot
        self.chunks: list[bytes] = []
        self._digest = hashlib.sha256()
        self._room_bytes = max_bytes

    def add(self, chunk: SnapshotChunk) -> None:
        """Take the next piece; WireError if it is damaged or too much."""
        self._room_bytes -= len(chunk.data)
        if self._room_bytes < 0:
            raise WireError(f"the snapshot of index {self.snapshot.index} is larger than this member accepts")
        if zlib.crc32(chunk.data) != chunk.crc:
            raise WireError(f"piece {len(self.chunks)} of the snapshot of index {self.snapshot.index} is damaged")
        self._digest.update(chunk.data)
        self.chunks.append(chunk.data)

    def finish(self, ends: SnapshotEnds) -> None:
        """WireError unless all of it is there."""
        if self._digest.digest() != ends.digest:
            raise WireError(f"the snapshot of index {self.snapshot.index} arrived incomplete")
