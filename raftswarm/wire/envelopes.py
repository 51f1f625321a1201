"""What surrounds each command of an embedded cluster in the log (docs/formats.md): which session it belongs to, if any.

The first byte says what it is. Numbers are big-endian and unsigned.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from raftswarm.errors import PayloadTooLarge
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.errors import WireError


class EnvelopeKind(IntEnum):
    """The first byte."""

    PLAIN = 0
    """A command outside of any session: the rest is its payload."""
    OPEN = 1
    """Open a session: 16 bytes that its client drew."""
    COMMAND = 2
    """A command of a session: the session, its number in it, up to which number answers arrived, the payload."""
    KEEP_ALIVE = 3
    """The session is still wanted: the session, up to which number answers arrived."""
    CLOSE = 4
    """The session is over."""


NONCE_BYTES: Final = 16
_COMMAND: Final = struct.Struct(">BQQQ")
_KEEP_ALIVE: Final = struct.Struct(">BQQ")
_CLOSE: Final = struct.Struct(">BQ")
_PLAIN: Final = bytes([EnvelopeKind.PLAIN])

MAX_PAYLOAD_BYTES: Final = MAX_COMMAND_BYTES - _COMMAND.size
"""The longest command of a user: with any envelope it fits a batch."""


class OpenSession(msgspec.Struct, frozen=True, gc=False):
    """Open a session; the nonce makes a second try the same session."""

    nonce: bytes


class SessionCommand(msgspec.Struct, frozen=True, gc=False):
    """A command in a session."""

    session: int
    sequence: int
    """Counts the session's commands from 1."""
    answered: int
    """The client has the answers up to this one: they may be forgotten."""
    payload: bytes


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """The session is still wanted."""

    session: int
    answered: int


class CloseSession(msgspec.Struct, frozen=True, gc=False):
    """The session is over, its answers may be forgotten."""

    session: int


SessionRequest = OpenSession | SessionCommand | KeepAlive | CloseSession


def check_payload(payload: bytes, what: str = "command") -> None:
    """TypeError unless it is bytes, PayloadTooLarge when no envelope of it fits the log."""
    if not isinstance(payload, bytes):
        raise TypeError(f"a {what} is bytes, not {type(payload).__name__}")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(f"a {what} of {len(payload)} bytes; the most is {MAX_PAYLOAD_BYTES}: split it")


def encode_plain(payload: bytes) -> bytes:
    """Wrap a command that belongs to no session."""
    if type(payload) is not bytes or len(payload) > MAX_PAYLOAD_BYTES:
        check_payload(payload)
    return _PLAIN + payload


def encode_plain_many(payloads: Sequence[bytes]) -> list[bytes]:
    """Wrap commands that belong to no session."""
    if not payloads or set(map(type, payloads)) != {bytes} or max(map(len, payloads)) > MAX_PAYLOAD_BYTES:
        return [encode_plain(payload) for payload in payloads]
    return [_PLAIN + payload for payload in payloads]


def encode_open(nonce: bytes) -> bytes:
    """Ask for a session; its result is the session's id."""
    assert len(nonce) == NONCE_BYTES, "a nonce has 16 bytes"
    return bytes([EnvelopeKind.OPEN]) + nonce


def encode_command(session: int, sequence: int, answered: int, payload: bytes) -> bytes:
    """Wrap a command of a session; its result is the command's."""
    check_payload(payload)
    return _COMMAND.pack(EnvelopeKind.COMMAND, session, sequence, answered) + payload


def encode_keep_alive(session: int, answered: int) -> bytes:
    """Keep a session from expiring."""
    return _KEEP_ALIVE.pack(EnvelopeKind.KEEP_ALIVE, session, answered)


def encode_close(session: int) -> bytes:
    """End a session."""
    return _CLOSE.pack(EnvelopeKind.CLOSE, session)


def decode_session_request(command: bytes) -> SessionRequest:
    """Read what is not plain; WireError when the bytes are not as long as their kind needs.

    Raises ValueError for a kind of a newer version.
    """
    if not command:
        raise WireError("an empty envelope")
    try:
        if command[0] == EnvelopeKind.COMMAND:  # First, and without more ado: it is the hot path.
            _, session, sequence, answered = _COMMAND.unpack_from(command)
            return SessionCommand(session, sequence, answered, command[_COMMAND.size :])
        match EnvelopeKind(command[0]):
            case EnvelopeKind.KEEP_ALIVE:
                _, session, answered = _KEEP_ALIVE.unpack(command)
                return KeepAlive(session, answered)
            case EnvelopeKind.CLOSE:
                _, session = _CLOSE.unpack(command)
                return CloseSession(session)
            case EnvelopeKind.OPEN if len(command) == 1 + NONCE_BYTES:
                return OpenSession(command[1:])
            case _:
                raise WireError("an envelope of the wrong length")
    except struct.error:
        raise WireError("an envelope of the wrong length") from None
