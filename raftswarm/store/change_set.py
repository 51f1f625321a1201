"""A transaction as bytes: what it read, and what it changes. This is what the log of the swarm consists of.

The first byte is the version of the format. Another version stops the member: it could only guess, and members that
guess differently diverge in silence. Bytes of this version that make no sense are refused, and every member refuses
the same ones. A new field of a stored record is a new version too: older members would drop it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from raftswarm.errors import PayloadTooLarge, RaftSwarmError, Rejected
from raftswarm.objects.records import AnyObject
from raftswarm.store.tables import KINDS

COMMAND_VERSION: Final = 1
MAX_CHANGES: Final = 200
MAX_BYTES: Final = 1536 * 1024


class UnknownCommandVersion(RaftSwarmError):
    """The log holds commands of another release: this member must stop and be brought to that release."""


class Put(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Create or replace an object; the version in it is the one it replaces, 0 for none."""

    kind: str
    body: msgspec.Raw


class Delete(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """Remove the object that has that version."""

    kind: str
    id: str
    version: int


class Read(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was read by id: its version, 0 if it was not there."""

    kind: str
    id: str
    version: int


class NameRead(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was read by name: the id of the first that has it, empty if none had."""

    kind: str
    name: str
    id: str


class TableRead(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A whole table was read, as the command with that number left it."""

    kind: str
    changed_at: int


class ChangeSet(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A transaction: all of it, or nothing if anything it read has changed."""

    changes: tuple[Put | Delete, ...]
    """At most one per object."""
    reads: tuple[Read, ...] = ()
    names: tuple[NameRead, ...] = ()
    tables: tuple[TableRead, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ChangeSet] = msgspec.msgpack.Decoder(ChangeSet)
_body_decoders: dict[str, msgspec.msgpack.Decoder[AnyObject]] = {
    kind.name: msgspec.msgpack.Decoder(kind.type) for kind in KINDS
}


def encode(change_set: ChangeSet) -> bytes:
    """Encode for the log; PayloadTooLarge beyond the limits of one transaction."""
    if len(change_set.changes) > MAX_CHANGES:
        raise PayloadTooLarge(f"a transaction has {len(change_set.changes)} changes, {MAX_CHANGES} at most; split it")
    command = bytes([COMMAND_VERSION]) + _encoder.encode(change_set)
    if len(command) > MAX_BYTES:
        raise PayloadTooLarge(f"a transaction has {len(command)} bytes, {MAX_BYTES} at most; split it")
    return command


def decode(command: bytes) -> ChangeSet:
    """Decode from the log; Rejected if it is malformed, UnknownCommandVersion if it is not ours to judge."""
    if not command:
        raise Rejected("empty command")
    if command[0] != COMMAND_VERSION:
        raise UnknownCommandVersion(
            f"the log holds commands of version {command[0]}, this release knows {COMMAND_VERSION}: "
            "run the release that wrote them"
        )
    try:
        return _decoder.decode(memoryview(command)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(f"malformed transaction: {error}") from error


def encode_object(stored: AnyObject) -> bytes:
    """Encode the body of a `Put`."""
    return _encoder.encode(stored)


def decode_object(kind: str, body: bytes | memoryview | msgspec.Raw) -> AnyObject:
    """Decode the body of a `Put`; Rejected if it is not of that kind."""
    decoder = _body_decoders.get(kind)
    if decoder is None:
        raise Rejected(f"no such table: {kind}")
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(f"malformed {kind}: {error}") from error
