"""What Raft members say to each other, as bytes: messages, introductions, and snapshots in checked pieces.

Numbers that no member could have meant (negative, above 63 bits) stop here, so that nothing behind has to fear them.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from raftswarm.raft.log_entry import Number, SnapshotMeta
from raftswarm.raft.messages import AnyMessage
from raftswarm.wire.codec import Codec
from raftswarm.wire.errors import WireError

CHANNEL_BYTES: Final = 4
SNAPSHOT_CHUNK_BYTES: Final = 256 * 1024


class Introduction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which member of a group speaks, and which one it believes to have reached.

    Also the answer to an introduction of an earlier epoch: whoever gets it has been left behind.
    """

    group: str
    sender: Number
    to: Number
    epoch: Number = 0
    """Members of different epochs do not speak: the cluster was recovered or restored between them."""


class SnapshotOffer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the sender has. Equal offers are of equal bytes: where one broke off, another goes on."""

    snapshot: SnapshotMeta
    chunks: Number
    size_bytes: Number
    """Of all chunks together."""
    digest: bytes
    """SHA-256 over the chunks in order, each behind its length (32 bits, big-endian)."""


class SnapshotWanted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The receiver's answer to an offer: send it from this chunk on."""

    number: Number
    """Counted from 1."""


class SnapshotChunk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One piece, of at most 256 KiB, with its own checksum."""

    number: Number
    data: bytes
    crc: Number
    """Of the offer's digest, the number (64 bits, big-endian) and the data."""


class SnapshotArrived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The receiver's answer to an offer or to the last chunk: it is complete, checked and on disk."""


SnapshotPart = SnapshotOffer | SnapshotWanted | SnapshotChunk | SnapshotArrived

_messages: Codec[AnyMessage] = Codec(AnyMessage)
_introductions: Codec[Introduction] = Codec(Introduction)
_snapshot_parts: Codec[SnapshotPart] = Codec(SnapshotPart)

encode_message, decode_message = _messages.encode, _messages.decode
encode_introduction, decode_introduction = _introductions.encode, _introductions.decode
encode_snapshot_part, decode_snapshot_part = _snapshot_parts.encode, _snapshot_parts.decode


def prefix_frame(channel: int, body: bytes) -> bytes:
    """Say on a shared link which pair of members a frame belongs to."""
    return channel.to_bytes(CHANNEL_BYTES, "big") + body


def split_frame(frame: bytes) -> tuple[int, memoryview]:
    """Read which channel a frame belongs to, and what it says."""
    if len(frame) < CHANNEL_BYTES:
        raise WireError("a frame is too short to say whom it is for")
    return int.from_bytes(frame[:CHANNEL_BYTES], "big"), memoryview(frame)[CHANNEL_BYTES:]


def cut_chunk(offer: SnapshotOffer, number: int, data: bytes) -> SnapshotChunk:
    """Make a piece of a snapshot."""
    return SnapshotChunk(number=number, data=data, crc=_checksum(offer, number, data))


def is_intact(offer: SnapshotOffer, chunk: SnapshotChunk) -> bool:
    """Tell whether a piece belongs to what was offered and is as it was sent."""
    return chunk.crc == _checksum(offer, chunk.number, chunk.data)


def _checksum(offer: SnapshotOffer, number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(offer.digest + number.to_bytes(8, "big")))
