"""Frames on a byte stream: each behind its length, so that a stream becomes messages again.

A claimed length is checked before a byte of the frame is kept: nonsense on the port costs no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from raftswarm.wire.errors import WireError

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")
LENGTH_BYTES: Final = _LENGTH.size


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Put each frame behind its length (unsigned 32-bit, big-endian)."""
    pieces: list[bytes] = []
    for frame in frames:
        pieces.append(_LENGTH.pack(len(frame)))
        pieces.append(frame)
    return b"".join(pieces)


class FrameReader:
    """Takes bytes as they come and gives back whole frames."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._wanted = LENGTH_BYTES
        """How many bytes the next frame needs in the buffer, as far as is known."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are now complete; WireError when one claims to be longer than allowed."""
        if self._wanted > len(self._buffer) + len(data):
            self._buffer += data
            return []
        if self._buffer:
            data = bytes(self._buffer + data)
            self._buffer.clear()
        frames: list[bytes] = []
        start = 0
        while len(data) - start >= LENGTH_BYTES:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > self._max_frame_bytes:
                raise WireError(f"a frame claims {length} bytes; {self._max_frame_bytes} are allowed")
            end = start + LENGTH_BYTES + length
            self._wanted = end - start
            if end > len(data):
                break
            frames.append(data[start + LENGTH_BYTES : end])
            start = end
        else:
            self._wanted = LENGTH_BYTES
        self._buffer += data[start:]
        return frames
