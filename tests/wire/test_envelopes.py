"""Envelopes around commands: bytes as docs/formats.md has them."""

from __future__ import annotations

import pytest

from raftswarm.errors import PayloadTooLarge
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import (
    MAX_PAYLOAD_BYTES,
    CloseSession,
    KeepAlive,
    OpenSession,
    SessionCommand,
    decode_session_request,
    encode_close,
    encode_command,
    encode_keep_alive,
    encode_open,
    encode_plain,
)
from raftswarm.wire.errors import WireError

NONCE = bytes(range(16))


def test_the_bytes_are_those_of_the_documentation() -> None:
    assert encode_plain(b"pay") == b"\x00pay"
    assert encode_open(NONCE) == b"\x01" + NONCE
    assert encode_command(1, 2, 3, b"pay") == b"\x02" + bytes(7) + b"\x01" + bytes(7) + b"\x02" + bytes(7) + b"\x03pay"
    assert encode_keep_alive(1, 3) == b"\x03" + bytes(7) + b"\x01" + bytes(7) + b"\x03"
    assert encode_close(1) == b"\x04" + bytes(7) + b"\x01"


def test_each_request_comes_back_as_it_was() -> None:
    assert decode_session_request(encode_open(NONCE)) == OpenSession(NONCE)
    assert decode_session_request(encode_command(7, 1, 0, b"")) == SessionCommand(7, 1, 0, b"")
    assert decode_session_request(encode_keep_alive(7, 5)) == KeepAlive(7, 5)
    assert decode_session_request(encode_close(7)) == CloseSession(7)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01" + bytes(17), b"\x02" + bytes(23), b"\x03", b"\x04" + bytes(9)])
def test_bytes_of_the_wrong_length_are_malformed(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_session_request(data)


def test_a_kind_of_a_newer_version_is_not_taken_for_malformed() -> None:
    with pytest.raises(ValueError, match="9"):
        decode_session_request(b"\x09")


def test_the_longest_payload_fits_a_batch_in_any_envelope() -> None:
    payload = bytes(MAX_PAYLOAD_BYTES)

    assert max(len(encode_plain(payload)), len(encode_command(1, 1, 0, payload))) == MAX_COMMAND_BYTES
    with pytest.raises(PayloadTooLarge, match="the most is"):
        encode_plain(payload + b"x")


@pytest.mark.parametrize("command", ["text", bytearray(b"x"), None, 3])
def test_a_command_is_bytes(command: bytes) -> None:
    with pytest.raises(TypeError, match="a command is bytes"):
        encode_plain(command)
