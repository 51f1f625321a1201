"""Calls on a link, as frames: what kind it is, which call it belongs to, then a body.

Many calls share a link; a body longer than a piece travels in several frames, so that no answer holds up the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import attrs
import msgspec

from raftswarm.errors import RequestRefused
from raftswarm.wire.codec import Codec
from raftswarm.wire.errors import WireError
from raftswarm.wire.requests import AnyAnswer, AnyRequest

PIECE_BYTES: Final = 256 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Of an answer; a request fits one frame."""


class FrameKind(IntEnum):
    """What a frame says about its call."""

    CALL = 0
    """From the caller: a request with one answer."""
    STREAM = 1
    """From the caller: a request that is answered by a stream; the caller has room for `STREAM_WINDOW` items."""
    CANCEL = 2
    """From the caller: it no longer wants to know."""
    TAKEN = 3
    """From the caller: it has taken this many items (the body, 32 bits), and has room for as many more."""
    PIECE = 4
    """From the server: a part of the body that the next ANSWER, ITEM or FAILURE of this call completes."""
    ANSWER = 5
    ITEM = 6
    END = 7
    """From the server: the stream is over."""
    FAILURE = 8


STREAM_WINDOW: Final = 16
_HEADER: Final = struct.Struct(">BI")
_COUNT: Final = struct.Struct(">I")

_requests: Codec[AnyRequest] = Codec(AnyRequest)
_answers: Codec[AnyAnswer] = Codec(AnyAnswer)
_REQUEST_NAMES: Final = frozenset(kind.__name__ for kind in AnyRequest.__args__)

encode_request = _requests.encode
encode_answer = _answers.encode
decode_answer = _answers.decode


@attrs.frozen
class CallFrame:
    """One frame, taken apart."""

    kind: FrameKind
    call: int
    body: bytes


def write_frame(kind: FrameKind, call: int, body: bytes = b"") -> bytes:
    """Make one frame."""
    return _HEADER.pack(kind, call) + body


def cut_frames(kind: FrameKind, call: int, body: bytes) -> Iterator[bytes]:
    """Make the frames of a body of any length."""
    last = max(0, (len(body) - 1) // PIECE_BYTES * PIECE_BYTES)
    for start in range(0, last, PIECE_BYTES):
        yield write_frame(FrameKind.PIECE, call, body[start : start + PIECE_BYTES])
    yield write_frame(kind, call, body[last:])


def read_frame(frame: bytes) -> CallFrame:
    """Take a frame apart; WireError if it is none."""
    if len(frame) < _HEADER.size:
        raise WireError("a frame of a call is shorter than its header")
    kind, call = _HEADER.unpack_from(frame)
    try:
        return CallFrame(FrameKind(kind), call, frame[_HEADER.size :])
    except ValueError as error:
        raise WireError(f"a frame of a call is of unknown kind {kind}") from error


def write_count(count: int) -> bytes:
    """Make the body of TAKEN."""
    return _COUNT.pack(count)


def read_count(body: bytes) -> int:
    """Read the body of TAKEN."""
    if len(body) != _COUNT.size:
        raise WireError("a count of taken items must have 4 bytes")
    (count,) = _COUNT.unpack(body)
    assert isinstance(count, int)
    return count


class _Tag(msgspec.Struct):
    type: str = ""


_tags: Codec[_Tag] = Codec(_Tag)


def decode_request(body: bytes) -> AnyRequest:
    """Read a request; RequestRefused, for the caller, if this version does not know it or it is malformed."""
    try:
        return _requests.decode(body)
    except WireError as error:
        try:
            name = _tags.decode(body).type
        except WireError:
            name = ""
        if name and name not in _REQUEST_NAMES:
            raise RequestRefused(f"this node does not know the request {name}", code="Unimplemented") from error
        raise RequestRefused(str(error), code="InvalidArgument") from error
