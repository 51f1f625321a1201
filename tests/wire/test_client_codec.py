"""What clients and members say to each other survives the wire, and fits its frames (docs/formats.md)."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftswarm.wire.client_codec import (
    FRAME_BYTES,
    FRAME_PARTS,
    Answers,
    Commands,
    Failures,
    FromClient,
    FromMember,
    Hello,
    Look,
    Questions,
    Whereabouts,
    cut,
    decode_from_client,
    decode_from_member,
    encode_from_client,
    encode_from_member,
)
from raftswarm.wire.errors import WireError


@pytest.mark.parametrize("frame", [Hello("embedded"), Commands(1, [b"a", b""]), Questions(7, [b"?"]), Look()])
def test_what_clients_say_survives(frame: FromClient) -> None:
    assert decode_from_client(encode_from_client(frame)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        Answers([1, 2], [None, ["a", {b"k": 1.5}]]),
        Failures([3], [b"error"]),
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
    assert msgspec.msgpack.decode(encode_from_member(Answers([5], [1]))) == [3, [5], [1]]
    assert msgspec.msgpack.decode(encode_from_member(Failures([6], [b"e"]))) == [4, [6], [b"e"]]
    assert msgspec.msgpack.decode(encode_from_member(Whereabouts(False, "a", ["b"]))) == [5, False, "a", ["b"]]


@given(st.binary(max_size=200))
def test_nonsense_is_a_wire_error_or_a_frame(data: bytes) -> None:
    for decode in (decode_from_client, decode_from_member):
        with suppress(WireError):
            decode(data)


@given(st.lists(st.integers(0, 2 * FRAME_BYTES), max_size=20), st.integers(0, 3 * FRAME_PARTS))
def test_parts_are_cut_in_order_into_what_fits(lengths: list[int], small: int) -> None:
    parts = list(enumerate([bytes(length) for length in lengths] + [b"x"] * small))

    pieces = list(cut(parts))

    assert [part for piece in pieces for part in piece] == parts
    for piece in pieces:
        assert 1 <= len(piece) <= FRAME_PARTS
        assert len(piece) == 1 or sum(len(body) for _, body in piece) <= FRAME_BYTES
