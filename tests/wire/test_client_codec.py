"""What clients and members say to each other survives the wire, and fits its frames (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftswarm.errors import RaftSwarmError, Rejected, ResultLost
from raftswarm.wire.client_codec import (
    FRAME_BYTES,
    FRAME_PARTS,
    MAX_ANSWER_BYTES,
    Answers,
    Commands,
    Failures,
    FromClient,
    FromMember,
    Hello,
    Look,
    Questions,
    Whereabouts,
    decode_from_client,
    decode_from_member,
    encode_from_client,
    encode_from_member,
    encode_outcomes,
)
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import decode_failure
from raftswarm.wire.values import encode_value


@pytest.mark.parametrize("frame", [Hello("embedded"), Commands(1, [b"a", b""]), Questions(7, [b"?"]), Look()])
def test_what_clients_say_survives(frame: FromClient) -> None:
    assert decode_from_client(encode_from_client(frame)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        Answers(1, [None, ["a", {b"k": 1.5}], None], {2: b"error"}),
        Failures(3, 2, b"error"),
        Whereabouts(leads=True, leader="", members=["127.0.0.1:7001"]),
    ],
)
def test_what_members_say_survives(frame: FromMember) -> None:
    assert decode_from_member(encode_from_member(frame)) == frame


def test_the_bytes_are_those_of_the_document() -> None:
    assert msgspec.msgpack.decode(encode_from_client(Hello("g"))) == [6, "g"]
    assert msgspec.msgpack.decode(encode_from_client(Commands(5, [b"a"]))) == [0, 5, [b"a"]]
    assert msgspec.msgpack.decode(encode_from_client(Questions(6, [b"?"]))) == [1, 6, [b"?"]]
    assert msgspec.msgpack.decode(encode_from_client(Look())) == [2]
    assert msgspec.msgpack.decode(encode_from_member(Answers(5, [1, None], {1: b"e"}))) == [3, 5, [1, None], {1: b"e"}]
    assert msgspec.msgpack.decode(encode_from_member(Failures(6, 2, b"e"))) == [4, 6, 2, b"e"]
    assert msgspec.msgpack.decode(encode_from_member(Whereabouts(False, "a", ["b"]))) == [5, False, "a", ["b"]]


@given(st.binary(max_size=200))
def test_nonsense_is_a_wire_error_or_a_frame(data: bytes) -> None:
    for decode in (decode_from_client, decode_from_member):
        with suppress(WireError):
            decode(data)


values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary()


def take_apart(frames: Iterable[tuple[bytes, int]], first: int) -> tuple[list[object], dict[int, RaftSwarmError]]:
    """Put the outcomes of neighbouring frames together, as a client does."""
    results: list[object] = []
    failed: dict[int, RaftSwarmError] = {}
    for encoded, count in frames:
        frame = decode_from_member(encoded)
        assert isinstance(frame, Answers)
        assert frame.first == first + len(results)
        assert len(frame.results) == count
        failed |= {len(results) + place: decode_failure(error) for place, error in frame.failures.items()}
        results += frame.results
    return results, failed


@given(
    st.lists(values | st.lists(values) | st.dictionaries(st.text(), values), max_size=20), st.sets(st.integers(0, 19))
)
def test_outcomes_come_as_they_are_or_as_lost(results: list[object], refused: set[int]) -> None:
    failed = {place: Rejected(f"not {place}") for place in refused if place < len(results)}
    given_ = [None if place in failed else result for place, result in enumerate(results)]

    told, errors = take_apart(encode_outcomes(7, given_, failed), 7)

    assert len(told) == len(given_)
    for place, result in enumerate(given_):
        try:
            encode_value(result)
        except TypeError:
            assert isinstance(errors.pop(place), ResultLost)
        else:
            assert told[place] == result
    assert {place: str(error) for place, error in errors.items()} == {at: str(error) for at, error in failed.items()}


@given(st.lists(st.integers(0, 2 * FRAME_BYTES), max_size=20), st.integers(0, 3 * FRAME_PARTS))
def test_outcomes_are_cut_in_order_into_what_fits(lengths: list[int], small: int) -> None:
    results = [bytes(length) for length in lengths] + [b"x"] * small

    frames = list(encode_outcomes(1, results))

    assert take_apart(frames, 1) == (results, {})
    for frame, count in frames:
        assert count <= FRAME_PARTS
        assert count == 1 or len(frame) <= FRAME_BYTES + 64
    small_frames = list(encode_outcomes(1, list(range(small))))
    assert take_apart(small_frames, 1) == (list(range(small)), {})
    assert max(count for _, count in small_frames) <= FRAME_PARTS


def test_a_result_that_fits_no_frame_is_lost() -> None:
    _, failed = take_apart(encode_outcomes(1, [bytes(MAX_ANSWER_BYTES), b"goes on"]), 1)

    assert list(failed) == [0]
    assert "does not travel" in str(failed[0])
