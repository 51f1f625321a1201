"""Calls as frames."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.errors import RequestRefused
from raftswarm.wire import WireError
from raftswarm.wire.call_codec import (
    PIECE_BYTES,
    CallFrame,
    FrameKind,
    cut_frames,
    decode_request,
    encode_request,
    read_count,
    read_frame,
    write_count,
    write_frame,
)
from raftswarm.wire.requests import BeatHeart


def test_a_frame_names_its_kind_and_its_call() -> None:
    assert read_frame(write_frame(FrameKind.CALL, 7, b"body")) == CallFrame(FrameKind.CALL, 7, b"body")


@pytest.mark.parametrize("frame", [b"", b"\x00\x00\x00\x00", b"\xff\x00\x00\x00\x01body"])
def test_what_is_no_frame_is_a_wire_error(frame: bytes) -> None:
    with pytest.raises(WireError):
        read_frame(frame)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 1_000_000])
def test_a_body_of_any_size_is_cut_into_pieces_and_one_last_frame(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]

    *pieces, last = [read_frame(frame) for frame in cut_frames(FrameKind.ANSWER, 7, body)]

    assert b"".join(frame.body for frame in [*pieces, last]) == body
    assert {frame.kind for frame in pieces} <= {FrameKind.PIECE}
    assert last.kind is FrameKind.ANSWER
    assert all(len(frame.body) <= PIECE_BYTES for frame in [*pieces, last])
    assert len(pieces) == max(0, (size - 1) // PIECE_BYTES)


def test_a_count_is_four_bytes() -> None:
    assert read_count(write_count(9)) == 9
    with pytest.raises(WireError):
        read_count(b"\x09")


def test_a_request_survives_its_bytes() -> None:
    assert decode_request(encode_request(BeatHeart(session_id="s"))) == BeatHeart(session_id="s")


def test_an_unknown_request_is_told_from_a_malformed_one() -> None:
    for body, code in (
        (msgspec.msgpack.encode({"type": "Teleport"}), "Unimplemented"),
        (msgspec.msgpack.encode({"type": "BeatHeart", "session_id": 7}), "InvalidArgument"),
        (msgspec.msgpack.encode({"type": "BeatHeart"}), "InvalidArgument"),
        (msgspec.msgpack.encode({"session_id": "s"}), "InvalidArgument"),
        (b"\xc1", "InvalidArgument"),
        (b"", "InvalidArgument"),
    ):
        with pytest.raises(RequestRefused) as caught:
            decode_request(body)
        assert caught.value.code == code
