"""The first frames on a link."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.ca import MANAGER, Identity
from raftswarm.wire import WireError
from raftswarm.wire.greetings import (
    PROTOCOL_VERSION,
    Claim,
    Lane,
    Welcome,
    decode_claim,
    decode_purpose,
    decode_welcome,
    encode_claim,
    encode_purpose,
    encode_welcome,
)


@pytest.mark.parametrize("lane", Lane)
def test_a_link_says_what_it_is_for(lane: Lane) -> None:
    assert decode_purpose(encode_purpose(lane)) is lane


def test_another_version_is_named() -> None:
    frame = msgspec.msgpack.encode({"version": PROTOCOL_VERSION + 1, "lane": 0})

    with pytest.raises(WireError, match=f"version {PROTOCOL_VERSION + 1}"):
        decode_purpose(frame)


@pytest.mark.parametrize("frame", [b"", b"GET / HTTP/1.1", msgspec.msgpack.encode({"version": 1, "lane": 9})])
def test_an_unknown_purpose_is_a_wire_error(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode_purpose(frame)


def test_a_welcome_carries_who_accepts_or_why_not() -> None:
    claim = Claim(node_id="alice", role=MANAGER, cluster_id="cluster")
    for welcome in (Welcome(), Welcome(refused="expired"), Welcome(roots="PEM"), Welcome(claim=claim)):
        assert decode_welcome(encode_welcome(welcome)) == welcome


def test_a_claim_is_an_identity() -> None:
    claim = Claim(node_id="alice", role=MANAGER, cluster_id="cluster")

    assert decode_claim(encode_claim(claim)).identity == Identity("alice", MANAGER, "cluster")
