"""What travels between a handle and the machine: commands for the log, questions beside it (docs/formats.md).

Behind two bytes that say "recipes, version 1" stands one msgpack array: a number for what is asked, the object's name,
and what belongs to it. Bytes that are not of recipes, or make no sense, are refused alike on every member. Another
version stops the member: it could only guess, and members that guess differently diverge in silence.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from raftswarm.errors import InvalidSpec, RaftSwarmError, Rejected
from raftswarm.wire.values import decode_value, encode_value

MARK: Final = 0xC1
"""No msgpack value begins with it."""
VERSION: Final = 1
MAX_NAME_BYTES: Final = 256

Key = str | int
"""What a dict's entries and a set's elements are called."""


class UnknownRequestVersion(RaftSwarmError):
    """The log holds recipes of another release: this member must stop and be brought to that release."""


class Request(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Something asked of the object with that name."""

    name: str


def encode_request(request: Request) -> bytes:
    """Return the bytes of a command or question; InvalidSpec for what msgpack cannot say."""
    try:
        return bytes((MARK, VERSION)) + msgspec.msgpack.encode(request)
    except (OverflowError, ValueError) as error:  # More than 64 bits, or half a character.
        raise InvalidSpec(f"a request does not encode: {error}") from error


def decode_request(data: bytes, decoder: msgspec.msgpack.Decoder[Any]) -> Request:
    """Return what the bytes ask; Rejected if that is nothing."""
    if len(data) < 2 or data[0] != MARK:
        raise Rejected("these bytes are not of raftswarm.recipes: use its objects to make them")
    if data[1] != VERSION:
        raise UnknownRequestVersion(f"recipes of version {data[1]}, this release knows {VERSION}: use a newer one")
    try:
        request: Request = decoder.decode(memoryview(data)[2:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"a request does not decode: {error}") from error
    return request


# Values.


def pack(value: object) -> bytes:
    """Return a value's bytes; InvalidSpec if it is not one that travels (`wire.values`)."""
    if value is None:
        raise InvalidSpec("None stands for nothing, and is no value to keep")
    try:
        return encode_value(value)
    except TypeError as error:
        raise InvalidSpec(str(error)) from error


def pack_or_nothing(value: object) -> bytes:
    """Return a value's bytes; none for None."""
    return b"" if value is None else pack(value)


def unpack(packed: bytes) -> object:
    """Return the value, newly made: whoever gets it may change it. Rejected if these are not a value's bytes."""
    try:
        return decode_value(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise Rejected(f"a value does not decode: {error}") from error


def unpack_or_nothing(packed: bytes) -> object:
    """Return the value; None for no bytes."""
    return unpack(packed) if packed else None


def check_key(key: object) -> Key:
    """Return the key; InvalidSpec if it cannot be one."""
    if isinstance(key, bool) or not isinstance(key, Key):
        raise InvalidSpec(f"{key!r} cannot be a key: keys are str or int")
    if isinstance(key, int) and not -(2**63) <= key < 2**64:
        raise InvalidSpec(f"{key} cannot be a key: it has more than 64 bits")
    return key


def check_name(name: object) -> str:
    """Return the object's name; InvalidSpec if it cannot be one."""
    if not isinstance(name, str) or not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES:
        raise InvalidSpec(f"{name!r} cannot be a name: names have 1 to {MAX_NAME_BYTES} bytes")
    return name
