"""The state machine of all recipes: it hosts any number of objects under their names.

An object comes into being with the first command for it, of the kind that the command is for, and goes when it holds
nothing any more. What a command does is each kind's own matter; this module finds the object, and makes snapshots.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from raftswarm.errors import CorruptLog, ForeignState, Rejected
from raftswarm.raft.state_machine import CHUNK_BYTES, Context
from raftswarm.recipes.counter import CounterState
from raftswarm.recipes.dictionary import DictState
from raftswarm.recipes.lock import LockState
from raftswarm.recipes.queue import QueueState
from raftswarm.recipes.requests import Request, decode_request
from raftswarm.recipes.sets import SetState

State = DictState | CounterState | SetState | QueueState | LockState
KINDS: Final = (DictState, CounterState, SetState, QueueState, LockState)

MAGIC: Final = b"raftswarm recipes"
SNAPSHOT_VERSION: Final = 1


class Header(msgspec.Struct, frozen=True, array_like=True):
    """How a snapshot begins; the same in every version."""

    magic: bytes
    version: int
    time_ns: int
    objects: int


class RecipeMachine:
    """What the members of a cluster run whose clients use `raftswarm.recipes`."""

    def __init__(self) -> None:
        self._objects: dict[str, State] = {}
        self._time_ns = 0
        """Of the last command: a question is answered as of then."""

    def apply(self, command: bytes, context: Context) -> object:
        """Carry out one command on its object."""
        request = decode_request(command, _COMMANDS)
        state = self._find(request)
        result = state.apply(request, context)  # type: ignore[arg-type] # Of its kind, as `_find` has made sure.
        if state.is_empty:
            self._objects.pop(request.name, None)
        else:
            self._objects[request.name] = state
        self._time_ns = context.time_ns
        return result

    def query(self, question: bytes) -> object:
        """Answer a question; what does not exist is empty."""
        request = decode_request(question, _QUESTIONS)
        return self._find(request).query(request, self._time_ns)  # type: ignore[arg-type]

    def _find(self, request: Request) -> State:
        kind = _HOMES[type(request)]
        state = self._objects.get(request.name)
        if state is None:
            return kind()
        if not isinstance(state, kind):
            raise Rejected(f"{request.name!r} is a {_name(type(state))}, and cannot be used as a {_name(kind)}")
        return state

    def capture(self) -> Picture:
        """Take a picture."""
        return Picture(self._time_ns, {name: self._objects[name].copy() for name in sorted(self._objects)})

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by a picture's."""
        records = _split(b"".join(chunks))
        header = _read_header(next(records, b""))
        objects: dict[str, State] = {}
        for record in records:
            try:
                name, state = _OBJECT.decode(record)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise CorruptLog(f"an object of the snapshot does not decode: {error}") from error
            objects[name] = state
        if len(objects) != header.objects:
            raise CorruptLog(f"the snapshot holds {len(objects)} objects, not {header.objects} as it says")
        self._objects, self._time_ns = objects, header.time_ns


class Picture:
    """All objects as they were, to be encoded later."""

    def __init__(self, time_ns: int, objects: dict[str, State]) -> None:
        self._time_ns = time_ns
        self._objects = objects

    def chunks(self) -> Iterator[bytes]:
        """The snapshot in pieces; the same state gives the same."""
        piece = bytearray()
        for record in self._records():
            piece += _LENGTH.pack(len(record)) + record
            while len(piece) >= CHUNK_BYTES:
                yield bytes(piece[:CHUNK_BYTES])
                del piece[:CHUNK_BYTES]
        if piece:
            yield bytes(piece)

    def _records(self) -> Iterator[bytes]:
        yield msgspec.msgpack.encode(Header(MAGIC, SNAPSHOT_VERSION, self._time_ns, len(self._objects)))
        for item in self._objects.items():
            yield msgspec.msgpack.encode(item)


def _read_header(record: bytes) -> Header:
    try:
        header = msgspec.msgpack.decode(record, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptLog(f"the snapshot has no header: {error}") from error
    if header.magic != MAGIC:
        raise ForeignState("the snapshot is not one of a RecipeMachine")
    if header.version != SNAPSHOT_VERSION:
        raise ForeignState(f"the snapshot has format {header.version}, this release knows {SNAPSHOT_VERSION}")
    return header


def _split(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        if len(data) - start < _LENGTH.size:
            raise CorruptLog("the snapshot ends in the middle of a length")
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if len(data) - start < length:
            raise CorruptLog("the snapshot ends in the middle of an object")
        yield data[start : start + length]
        start += length


def _name(kind: type[State]) -> str:
    return str(kind.__struct_config__.tag)


_LENGTH: Final = struct.Struct("<I")
_HOMES: Final[dict[type[Request], type[State]]] = {
    request: kind for kind in KINDS for request in (*kind.commands, *kind.questions)
}
_COMMANDS: Final = msgspec.msgpack.Decoder[Any](reduce(or_, [command for kind in KINDS for command in kind.commands]))
_QUESTIONS: Final = msgspec.msgpack.Decoder[Any](reduce(or_, [asked for kind in KINDS for asked in kind.questions]))
_OBJECT: Final = msgspec.msgpack.Decoder(tuple[str, State])
