"""A peer's bytes never crash us: every decoder gives a value or the one error it declares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftswarm.errors import RequestRefused
from raftswarm.raft.messages import AppendEntries, Heartbeat, Opening
from raftswarm.wire import WireError
from raftswarm.wire.call_codec import (
    FrameKind,
    cut_frames,
    decode_answer,
    decode_request,
    read_frame,
)
from raftswarm.wire.failures import decode_failure
from raftswarm.wire.frames import FrameReader, join_frames
from raftswarm.wire.greetings import decode_claim, decode_purpose, decode_welcome
from raftswarm.wire.member_codec import decode_introduction, decode_message, decode_snapshot_part, encode_message

DECODERS: list[Callable[[bytes], object]] = [
    decode_message,
    decode_introduction,
    decode_snapshot_part,
    decode_purpose,
    decode_welcome,
    decode_claim,
    decode_answer,
    decode_failure,
    decode_request,
    read_frame,
]
SAMPLES = [
    encode_message(message)
    for message in (
        Heartbeat(sender=1, to=2, term=3, commit=4),
        AppendEntries(sender=1, to=2, term=3, previous_index=4, previous_term=5),
        Opening(sender=1, to=2, term=3, cluster="c", incarnation=1, boot=4, last_index=5, last_term=6),
    )
]


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: getattr(decode, "__qualname__", "codec"))
@given(data=st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    with suppress(WireError, RequestRefused):
        decode(data)


@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_damaged_message_decodes_or_is_refused(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    with suppress(WireError):
        decode_message(bytes(damaged))


@given(frames=st.lists(st.binary(max_size=50)), cuts=st.lists(st.integers(0, 600)))
def test_frames_survive_any_cutting(frames: list[bytes], cuts: list[int]) -> None:
    data, reader = join_frames(frames), FrameReader()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    found = [frame for start, end in pairwise(places) for frame in reader.feed(data[start:end])]

    assert found == frames


@given(call=st.integers(0, 2**32 - 1), body=st.binary(max_size=100), kind=st.sampled_from(FrameKind))
def test_a_frame_of_a_call_survives_its_bytes(call: int, body: bytes, kind: FrameKind) -> None:
    (frame,) = [read_frame(frame) for frame in cut_frames(kind, call, body)]

    assert (frame.kind, frame.call, frame.body) == (kind, call, body)
