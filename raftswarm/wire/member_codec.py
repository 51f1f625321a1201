"""What Raft members say to each other, as bytes: messages, introductions, and snapshots in checked pieces.

Numbers that no member could have meant (negative, above 63 bits) stop here, so that nothing behind has to fear them.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.messages import AnyMessage
from raftswarm.wire.codec import Codec
from raftswarm.wire.errors import WireError

MAX_NUMBER: Final = (1 << 63) - 1
CHANNEL_BYTES: Final = 4
SNAPSHOT_CHUNK_BYTES: Final = 256 * 1024


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """Which member of a group speaks, and which one it believes to have reached."""

    group: str
    sender: int
    to: int


class SnapshotOffer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the sender has. Equal offers are of equal bytes: where one broke off, another goes on."""

    snapshot: SnapshotMeta
    chunks: int
    size_bytes: int
    """Of all chunks together."""
    digest: bytes
    """SHA-256 over the chunks in order, each behind its length (32 bits, big-endian)."""


class SnapshotWanted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The receiver's answer to an offer: send it from this chunk on."""

    number: int
    """Counted from 1."""


class SnapshotChunk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One piece, of at most 256 KiB, with its own checksum."""

    number: int
    data: bytes
    crc: int
    """Of the offer's digest, the number (64 bits, big-endian) and the data."""


class SnapshotArrived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The receiver's answer to an offer or to the last chunk: it is complete, checked and on disk."""


SnapshotPart = SnapshotOffer | SnapshotWanted | SnapshotChunk | SnapshotArrived

_messages: Codec[AnyMessage] = Codec(AnyMessage)
_introductions: Codec[Introduction] = Codec(Introduction)
_snapshot_parts: Codec[SnapshotPart] = Codec(SnapshotPart)

encode_message = _messages.encode
encode_introduction = _introductions.encode
encode_snapshot_part = _snapshot_parts.encode


def decode_message(frame: bytes | memoryview) -> AnyMessage:
    """Read a member's message."""
    message = _messages.decode(frame)
    _check_numbers(message)
    return message


def decode_introduction(frame: bytes | memoryview) -> Introduction:
    """Read which members meet on a link."""
    introduction = _introductions.decode(frame)
    _check_numbers(introduction)
    return introduction


def decode_snapshot_part(frame: bytes) -> SnapshotPart:
    """Read a part of a snapshot."""
    part = _snapshot_parts.decode(frame)
    _check_numbers(part)
    return part


def prefix_frame(channel: int, body: bytes) -> bytes:
    """Say on a shared link which pair of members a frame belongs to."""
    return channel.to_bytes(CHANNEL_BYTES, "big") + body


def split_frame(frame: bytes) -> tuple[int, memoryview]:
    """Read which channel a frame belongs to, and what it says."""
    if len(frame) < CHANNEL_BYTES:
        raise WireError("a frame is too short to say whom it is for")
    return int.from_bytes(frame[:CHANNEL_BYTES], "big"), memoryview(frame)[CHANNEL_BYTES:]


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


def cut_chunk(offer: SnapshotOffer, number: int, data: bytes) -> SnapshotChunk:
    """Make a piece of a snapshot."""
    return SnapshotChunk(number=number, data=data, crc=_checksum(offer, number, data))


def is_intact(offer: SnapshotOffer, chunk: SnapshotChunk) -> bool:
    """Tell whether a piece belongs to what was offered and is as it was sent."""
    return chunk.crc == _checksum(offer, chunk.number, chunk.data)


def _checksum(offer: SnapshotOffer, number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(offer.digest + number.to_bytes(8, "big")))
