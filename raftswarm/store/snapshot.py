"""The tables as bytes and back. The same tables give the same bytes, on every member.

A header names format, tables and their sizes; then every object behind its length, table by table, sorted by id. The
stream is cut into pieces wherever a piece is full: an object may be larger than a piece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from raftswarm.errors import CorruptLog, ForeignState, Rejected
from raftswarm.objects.records import Object
from raftswarm.store.change_set import decode_object, encode_object
from raftswarm.store.tables import Table, new_tables

MAGIC: Final = b"raftswarm tables"
SNAPSHOT_VERSION: Final = 1
MAX_CHUNK_BYTES: Final = 256 * 1024
_LENGTH: Final = struct.Struct("<I")


class TableHeader(msgspec.Struct, frozen=True, array_like=True):
    """One table of the stream."""

    kind: str
    changed_at: int
    count: int


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What the stream holds; its format stays as it is in every version."""

    magic: bytes
    version: int
    tables: tuple[TableHeader, ...]


class TablesCapture:
    """The `Capture` of the store: the objects as they were, to be encoded later."""

    def __init__(self, tables: Mapping[type[Object], Table[Any]]) -> None:
        self._tables = [(table.kind.name, table.changed_at, dict(table.objects)) for table in tables.values()]

    def chunks(self) -> Iterator[bytes]:
        """The stream in pieces of at most 256 KiB."""
        piece = bytearray()
        for record in self._records():
            piece += _LENGTH.pack(len(record))
            piece += record
            while len(piece) >= MAX_CHUNK_BYTES:
                yield bytes(piece[:MAX_CHUNK_BYTES])
                del piece[:MAX_CHUNK_BYTES]
        if piece:
            yield bytes(piece)

    def _records(self) -> Iterator[bytes]:
        headers = tuple(TableHeader(kind, changed_at, len(objects)) for kind, changed_at, objects in self._tables)
        yield msgspec.msgpack.encode(Header(MAGIC, SNAPSHOT_VERSION, headers))
        for _, _, objects in self._tables:
            for object_id in sorted(objects):
                yield encode_object(objects[object_id])


def read_tables(chunks: Iterable[bytes]) -> dict[type[Object], Table[Any]]:
    """Build the tables of a stream; ForeignState if another release wrote it, CorruptLog if it is damaged."""
    records = _split(chunks)
    header = _read_header(next(records, b""))
    tables = new_tables()
    by_kind = {table.kind.name: table for table in tables.values()}
    for described in header.tables:
        table = by_kind.get(described.kind)
        if table is None:
            raise ForeignState(f"the snapshot holds {described.kind} objects, unknown to this release: use a newer one")
        table.changed_at = described.changed_at
        for _ in range(described.count):
            record = next(records, None)
            if record is None:
                raise CorruptLog(f"the snapshot ends in the middle of its {described.kind} objects")
            try:
                table.put(decode_object(described.kind, record))
            except Rejected as error:
                raise CorruptLog(f"the snapshot does not decode: {error}") from error
    if next(records, None) is not None:
        raise CorruptLog("the snapshot goes on behind its end")
    return tables


def _read_header(record: bytes) -> Header:
    try:
        header = msgspec.msgpack.decode(record, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptLog(f"the snapshot has no header: {error}") from error
    if header.magic != MAGIC:
        raise ForeignState("the snapshot is not one of a swarm's tables")
    if header.version != SNAPSHOT_VERSION:
        raise ForeignState(
            f"the snapshot has format {header.version}, this release knows {SNAPSHOT_VERSION}: use a newer one"
        )
    return header


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    start = 0
    for chunk in chunks:
        del waiting[:start]
        start = 0
        waiting += chunk
        while len(waiting) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(waiting, start)
            end = start + _LENGTH.size + length
            if end > len(waiting):
                break
            yield bytes(waiting[start + _LENGTH.size : end])
            start = end
    if start != len(waiting):
        raise CorruptLog("the snapshot ends in the middle of an object")
