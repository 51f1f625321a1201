"""Values as bytes and back."""

from __future__ import annotations

import pytest

from raftswarm.wire import WireError
from raftswarm.wire.codec import Codec


def test_a_value_survives_its_bytes() -> None:
    codec: Codec[dict[str, int]] = Codec(dict[str, int])

    assert codec.decode(codec.encode({"one": 1})) == {"one": 1}


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa3one", b"\x81\xa3one\xa1x", b"\x01", b"\x80\x80"])
def test_other_bytes_are_a_wire_error(data: bytes) -> None:
    codec: Codec[dict[str, int]] = Codec(dict[str, int])

    with pytest.raises(WireError, match="does not decode"):
        codec.decode(data)


def test_bytes_nested_too_deep_are_a_wire_error() -> None:
    codec: Codec[list[int]] = Codec(list)

    with pytest.raises(WireError, match="does not decode"):
        codec.decode(b"\x91" * 100_000 + b"\x01")


def test_text_that_is_no_text_is_a_wire_error() -> None:
    codec: Codec[dict[str, str]] = Codec(dict[str, str])

    with pytest.raises(WireError, match="does not decode"):
        codec.decode(b"\x81\xa1k\xa1\xff")
