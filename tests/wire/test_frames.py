"""Frames on a byte stream."""

from __future__ import annotations

import pytest

from raftswarm.wire import WireError
from raftswarm.wire.frames import MAX_FRAME_BYTES, FrameReader, join_frames

FRAMES = [b"", b"a", b"bc" * 500, b"", b"end"]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000, 10_000])
def test_frames_come_out_whole_however_the_bytes_are_cut(step: int) -> None:
    data, reader = join_frames(FRAMES), FrameReader()

    found = [frame for start in range(0, len(data), step) for frame in reader.feed(data[start : start + step])]

    assert found == FRAMES


def test_a_frame_may_be_as_long_as_allowed_and_no_longer() -> None:
    assert FrameReader(10).feed(join_frames([b"x" * 10])) == [b"x" * 10]
    with pytest.raises(WireError, match="claims 11 bytes; 10 are allowed"):
        FrameReader(10).feed(join_frames([b"x" * 11]))


def test_a_claim_that_is_too_long_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(WireError):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    assert FrameReader().feed(MAX_FRAME_BYTES.to_bytes(4, "big")) == []
