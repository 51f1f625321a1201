"""Snapshots: written aside, synced, renamed, the directory synced; each one sealed chunk by chunk under its own key.

Our own count from the moment they have their name, and say which record of the log was the newest then: a log that
does not reach that record is an older copy put back. One that came from the leader counts from the moment a segment of
the log says that it follows it: so installing is one atomic step, in the log.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import attrs
import msgspec

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.files import TEMPORARY_SUFFIX, Place
from raftswarm.storage.replay import WAY_BACK, Position
from raftswarm.storage.sealing import SALT_BYTES, SNAPSHOT, TAG_BYTES, Damaged, Seal, key_id
from raftswarm.storage.segment import Follows, SegmentHeader
from raftswarm.world.disk import File

FORMAT_VERSION: Final = 1
CHUNK_BYTES: Final = 256 * 1024
KEPT_ASIDE: Final = 2
"""Received snapshots that wait to be installed: a newer one may arrive while the last is being looked at."""

_MAGIC: Final = b"RSWMSNP\n"
_HEADER: Final = struct.Struct(">8sH6xQQQQ16s32s8sI")
_CHECKSUM: Final = struct.Struct(">I")
_CLEAR_BYTES: Final = _HEADER.size + _CHECKSUM.size
_MAX_META_BYTES: Final = 16 * 1024 * 1024
_CHUNK: Final = struct.Struct(">BI")
_MORE: Final = 0
_LAST: Final = 1


class Origin(StrEnum):
    """Where a snapshot came from; its file's name ends so."""

    SAVED = ".saved"
    RECEIVED = ".received"


@attrs.frozen
class SavedSnapshot:
    """A snapshot's file."""

    name: str
    meta: SnapshotMeta
    position: Position
    """The newest record when our own was saved; nothing for a received one."""
    tag: bytes
    """Of the seal over the header: what a segment that follows it names."""


class Snapshots:
    """The directory of one member's snapshots, of which one is the newest."""

    def __init__(self, place: Place) -> None:
        """`place` is the snapshots' directory and how they are sealed."""
        self._place = place
        self._received: deque[SavedSnapshot] = deque()
        self.newest: SavedSnapshot | None = None

    @property
    def index(self) -> int:
        """Of the newest; 0 without one."""
        return 0 if self.newest is None else self.newest.meta.index

    def recover(self, began: SegmentHeader) -> None:
        """Find the newest: our own, or the received one that the log began with."""
        was_installed = began.follows is Follows.SNAPSHOT
        installed = _name(began.follows_position, Origin.RECEIVED) if was_installed else None
        names = self._place.disk.list(self._place.directory)
        # Names sort by index. What is older than the newest is about to be removed, whatever its state.
        for name in reversed([name for name in names if name.endswith(Origin.SAVED) or name == installed]):
            found, chunks = self._open(name)
            chunks.close()
            if name.endswith(Origin.SAVED) or found.tag == began.follows_tag:
                # An earlier run may have died between giving it its name and making that durable.
                self._place.disk.sync_directory(self._place.directory)
                self.newest = found
                return

    def verify(self) -> None:
        """Read the newest to its end; CorruptLog if it is damaged."""
        if self.newest is not None:
            _, chunks = self._open(self.newest.name)
            deque(chunks, maxlen=0)

    def save(self, meta: SnapshotMeta, chunks: Iterable[bytes], position: Position) -> None:
        """Write our own; on return it is the newest."""
        if meta.index >= self.index:
            self.newest = self._write(Origin.SAVED, meta, chunks, position)
            self.clean()

    def receive(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> None:
        """Write one that came from the leader and keep it aside; not if it is of no use any more."""
        if meta.index <= self.index:
            return
        received = self._write(Origin.RECEIVED, meta, chunks, Position())
        self._received = deque(kept for kept in self._received if kept.name != received.name)
        self._received.append(received)
        while len(self._received) > KEPT_ASIDE:
            self._place.disk.remove(self._place.path(self._received.popleft().name))

    def find_received(self, meta: SnapshotMeta) -> SavedSnapshot:
        """Return what `receive` kept."""
        found = next((kept for kept in self._received if kept.meta == meta), None)
        assert found is not None, "only a snapshot that was received is installed"
        return found

    def installed(self, snapshot: SavedSnapshot) -> None:
        """The log follows it now: it is the newest."""
        self.newest = snapshot
        self.clean()

    def clean(self) -> None:
        """Remove what is older than the newest, and what was being written when an earlier run stopped."""
        self._received = deque(kept for kept in self._received if kept.meta.index > self.index)
        kept = {snapshot.name for snapshot in (self.newest, *self._received) if snapshot is not None}
        for name in self._place.disk.list(self._place.directory):
            if name not in kept and name.endswith((*Origin, TEMPORARY_SUFFIX)):
                self._place.disk.remove(self._place.path(name))

    def read(self) -> tuple[SnapshotMeta, Iterator[bytes]] | None:
        """Return the newest and its chunks. May be called beside a running job: an open file outlives its name."""
        while (newest := self.newest) is not None:
            try:
                found, chunks = self._open(newest.name)
            except FileNotFoundError:
                if newest is self.newest:
                    raise
                continue  # A newer one took its place between our two looks.
            return found.meta, chunks
        return None

    def _write(self, origin: Origin, meta: SnapshotMeta, chunks: Iterable[bytes], position: Position) -> SavedSnapshot:
        place = self._place
        name = _name(meta.index, origin)
        path = self._place.path(name)
        salt = place.entropy.token_bytes(SALT_BYTES)
        seal = Seal(place.data_key, salt, SNAPSHOT)
        plain_meta = msgspec.msgpack.encode(meta)
        header = _encode_header(meta, position, salt, key_id(place.data_key), len(plain_meta))
        sealed_meta = seal.close(0, plain_meta, header)
        file = place.disk.open(path + TEMPORARY_SUFFIX, create=True)
        try:
            file.truncate(0)
            file.write(0, [header, sealed_meta])
            offset = len(header) + len(sealed_meta)
            for number, (flag, chunk) in enumerate(_in_pieces(chunks), start=1):
                clear = _CHUNK.pack(flag, len(chunk))
                sealed = seal.close(number, chunk, clear)
                file.write(offset, [clear, sealed])
                offset += len(clear) + len(sealed)
            file.sync()
        finally:
            file.close()
        place.disk.rename(path + TEMPORARY_SUFFIX, path)
        place.disk.sync_directory(place.directory)
        return SavedSnapshot(name, meta, position, sealed_meta[-TAG_BYTES:])

    def _open(self, name: str) -> tuple[SavedSnapshot, _Chunks]:
        path = self._place.path(name)
        file = self._place.disk.open(path)
        try:
            return _read_header(file, name, path, self._place.data_key)
        except Damaged as damage:
            file.close()
            raise _corrupt(path, 0, damage) from None
        except BaseException:
            file.close()
            raise


def _name(index: int, origin: Origin) -> str:
    return f"{index:020d}{origin}"


def _encode_header(meta: SnapshotMeta, position: Position, salt: bytes, sealed_under: bytes, meta_bytes: int) -> bytes:
    fields = _HEADER.pack(
        _MAGIC,
        FORMAT_VERSION,
        meta.index,
        meta.term,
        position.segment,
        position.record,
        position.tag,
        salt,
        sealed_under,
        meta_bytes,
    )
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def _read_header(file: File, name: str, path: str, data_key: bytes) -> tuple[SavedSnapshot, _Chunks]:
    clear = file.read(0, _CLEAR_BYTES)
    fields = clear[: _HEADER.size]
    if len(clear) < _CLEAR_BYTES or not clear.startswith(_MAGIC):
        raise Damaged("the header of the snapshot is not there")
    if clear[_HEADER.size :] != _CHECKSUM.pack(zlib.crc32(fields)):
        raise Damaged("the checksum of the snapshot's header does not fit")
    _, version, index, term, segment, record, tag, salt, written_under, meta_bytes = _HEADER.unpack(fields)
    if version != FORMAT_VERSION:
        raise ForeignState(
            f"{path} has snapshot format {version}; this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
        )
    if written_under != key_id(data_key):
        raise InvalidKey(f"{path} was sealed under another node's key; put its own keys beside it, or join again")
    if meta_bytes > _MAX_META_BYTES:
        raise Damaged("its header claims an impossible size")
    seal = Seal(data_key, salt, SNAPSHOT)
    sealed = file.read(_CLEAR_BYTES, meta_bytes + TAG_BYTES)
    try:
        meta = msgspec.msgpack.decode(seal.open(0, sealed, clear), type=SnapshotMeta)
    except msgspec.MsgspecError as error:
        raise Damaged(f"it opens, but describes no snapshot: {error}") from error
    if (meta.index, meta.term) != (index, term) or not name.startswith(f"{index:020d}."):
        raise Damaged("it is another snapshot than its name says")
    snapshot = SavedSnapshot(name, meta, Position(segment, record, tag), sealed[-TAG_BYTES:])
    return snapshot, _Chunks(file, path, seal, _CLEAR_BYTES + len(sealed))


class _Chunks(Iterator[bytes]):
    """The plain chunks, read as they are asked for; CorruptLog instead of a chunk that is not as it was written."""

    def __init__(self, file: File, path: str, seal: Seal, offset: int) -> None:
        self._file = file
        self._path = path
        self._seal = seal
        self._offset = offset
        self._number = 0
        self._is_complete = False

    def __next__(self) -> bytes:
        while not self._is_complete:
            try:
                chunk = self._read()
            except Damaged as damage:
                self.close()
                raise _corrupt(self._path, self._offset, damage) from None
            if chunk:
                return chunk
        self.close()
        raise StopIteration

    def _read(self) -> bytes:
        clear = self._file.read(self._offset, _CHUNK.size)
        if len(clear) < _CHUNK.size:
            raise Damaged("the snapshot ends before its last chunk")
        flag, length = _CHUNK.unpack(clear)
        if length > CHUNK_BYTES:
            raise Damaged("a chunk claims an impossible size")
        self._number += 1
        sealed = self._file.read(self._offset + len(clear), length + TAG_BYTES)
        if len(sealed) < length + TAG_BYTES:
            raise Damaged("the snapshot ends within a chunk")
        chunk = self._seal.open(self._number, sealed, clear)
        self._offset += len(clear) + len(sealed)
        self._is_complete = flag == _LAST
        if self._is_complete and self._file.size() != self._offset:
            raise Damaged("something stands behind the last chunk")
        return chunk

    def close(self) -> None:
        """Close the file; nothing more comes."""
        self._is_complete = True
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


def _in_pieces(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each chunk, cut where it is too long, and an empty one as the last."""
    for chunk in chunks:
        for offset in range(0, len(chunk), CHUNK_BYTES):
            yield _MORE, chunk[offset : offset + CHUNK_BYTES]
    yield _LAST, b""


def _corrupt(path: str, offset: int, damage: Damaged) -> CorruptLog:
    return CorruptLog(f"{path} is damaged at byte {offset}: {damage}; {WAY_BACK}")
