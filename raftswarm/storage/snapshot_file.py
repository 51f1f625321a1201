"""One snapshot's file: a sealed description, sealed chunks, an end; written and read chunk by chunk (docs/formats.md).

The one big idea: nobody holds a whole snapshot. A writer takes chunks as they come and syncs as it goes, so that its
last sync takes no longer than the others; a reader begins at any chunk, and outlives the name of what it reads.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from typing import Final

import attrs
import msgspec

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, StorageError
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.files import TEMPORARY_SUFFIX, Place, disk_errors
from raftswarm.storage.replay import WAY_BACK, Position
from raftswarm.storage.sealing import SALT_BYTES, SNAPSHOT, TAG_BYTES, Damaged, Seal, find_key, key_id
from raftswarm.storage.segment import EPOCH_BYTES
from raftswarm.wire.member_codec import SnapshotOffer
from raftswarm.world.disk import File

FORMAT_VERSION: Final = 1
CHUNK_BYTES: Final = 256 * 1024
KEY_ID_AT: Final = 96
"""Where the header says which data key sealed it."""

_MAGIC: Final = b"RSWMSNP\n"
_HEADER: Final = struct.Struct(">8sH6sQQQQ16s32s8sI")
_CHECKSUM: Final = struct.Struct(">I")
_CLEAR_BYTES: Final = _HEADER.size + _CHECKSUM.size
_MAX_META_BYTES: Final = 16 * 1024 * 1024
_CHUNK: Final = struct.Struct(">BI")
_LENGTH: Final = struct.Struct(">I")
_MORE: Final = 0
_LAST: Final = 1


class Origin(StrEnum):
    """Where a snapshot came from; its file's name ends so."""

    SAVED = ".saved"
    RECEIVED = ".received"


class Contents:
    """Counts and digests chunks as they pass; what the snapshot is then offered as."""

    def __init__(self) -> None:
        self.chunks = 0
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Take in the next one."""
        self.chunks += 1
        self.size_bytes += len(chunk)
        self._digest.update(_LENGTH.pack(len(chunk)))
        self._digest.update(chunk)

    def offer(self, snapshot: SnapshotMeta) -> SnapshotOffer:
        """Say what it is, to a member that may hold some of it."""
        return SnapshotOffer(
            snapshot=snapshot, chunks=self.chunks, size_bytes=self.size_bytes, digest=self._digest.digest()
        )


@attrs.frozen
class SnapshotFile:
    """A snapshot that is on disk."""

    name: str
    meta: SnapshotMeta
    position: Position
    """The newest record when our own was saved; nothing for a received one."""
    tag: bytes
    """Of the seal over the header: what a segment that follows it names."""
    sealed_under: bytes
    """Id of the data key."""
    epoch: int


class SnapshotWriter:
    """Writes a file under another name until it is complete."""

    def __init__(self, place: Place, origin: Origin, meta: SnapshotMeta, position: Position) -> None:
        self.contents = Contents()
        self._place = place
        self._path = place.path(snapshot_name(meta.index, origin))
        salt = place.entropy.token_bytes(SALT_BYTES)
        self._seal = Seal(place.data_key, salt, SNAPSHOT)
        plain_meta = msgspec.msgpack.encode(meta)
        self.sealed_under = key_id(place.data_key)
        header = _encode_header(meta, position, salt, place.epoch, self.sealed_under, len(plain_meta))
        sealed_meta = self._seal.close(0, plain_meta, header)
        self._written = SnapshotFile(
            snapshot_name(meta.index, origin),
            meta,
            position,
            sealed_meta[-TAG_BYTES:],
            self.sealed_under,
            place.epoch,
        )
        self._offset = len(header) + len(sealed_meta)
        self._file = place.disk.open(self._path + TEMPORARY_SUFFIX, create=True)
        try:
            self._file.truncate(0)
            self._file.write(0, [header, sealed_meta])
        except Exception:
            self.discard()
            raise

    @property
    def temporary_name(self) -> str:
        """Under which it is written."""
        return self._written.name + TEMPORARY_SUFFIX

    def add(self, chunk: bytes) -> None:
        """Write the next chunk, of 1 byte to 256 KiB."""
        self._append(_MORE, chunk, self.contents.chunks + 1)
        self.contents.add(chunk)

    def sync(self) -> None:
        """Make durable what was added so far."""
        self._file.sync()

    def finish(self) -> SnapshotFile:
        """Give it its name; on return it is durable."""
        self._append(_LAST, b"", self.contents.chunks + 1)
        self._file.sync()
        self._file.close()
        self._place.disk.rename(self._path + TEMPORARY_SUFFIX, self._path)
        self._place.disk.sync_directory(self._place.directory)
        return self._written

    def discard(self) -> None:
        """Remove what is there, as far as the disk lets us: the next start removes what is left."""
        self._file.close()
        with suppress(OSError, StorageError):
            self._place.disk.remove(self._path + TEMPORARY_SUFFIX)

    def _append(self, flag: int, chunk: bytes, number: int) -> None:
        assert len(chunk) <= CHUNK_BYTES, "whoever makes chunks keeps to their limit"
        clear = _CHUNK.pack(flag, len(chunk))
        sealed = self._seal.close(number, chunk, clear)
        self._file.write(self._offset, [clear, sealed])
        self._offset += len(clear) + len(sealed)


class SnapshotReader(Iterator[bytes]):
    """The plain chunks, read as they are asked for.

    Instead of a chunk, CorruptLog if it is not as it was written, DiskFailed if the disk does not give it.
    """

    def __init__(self, place: Place, name: str) -> None:
        """Open it and read its description."""
        self._path = place.path(name)
        self._file = place.disk.open(self._path)
        try:
            self.found, self._seal, self._begin = _read_header(self._file, name, self._path, place.keys)
        except Damaged as damage:
            self.close()
            raise _corrupt(self._path, 0, damage) from None
        except BaseException:
            self.close()
            raise
        self._offset = self._begin
        self._number = 1
        self._is_complete = False

    def seek(self, number: int) -> None:
        """Go on at that chunk, counted from 1; those before it are not looked at."""
        self._offset, self._number, self._is_complete = self._begin, 1, False
        while self._number < number:
            with self._reading():
                clear = self._read_clear()
            self._offset += len(clear) + _CHUNK.unpack(clear)[1] + TAG_BYTES
            self._number += 1

    def _reading(self) -> AbstractContextManager[None]:
        return disk_errors(f"could not read {self._path}")

    def __next__(self) -> bytes:
        """Return the next chunk."""
        if not self._is_complete:
            try:
                with self._reading():
                    chunk = self._read_chunk()
            except Damaged as damage:
                raise _corrupt(self._path, self._offset, damage) from None
            if not self._is_complete:
                return chunk
        raise StopIteration

    def _read_clear(self) -> bytes:
        clear = self._file.read(self._offset, _CHUNK.size)
        if len(clear) < _CHUNK.size:
            raise Damaged("the snapshot ends before its last chunk")
        return clear

    def _read_chunk(self) -> bytes:
        clear = self._read_clear()
        flag, length = _CHUNK.unpack(clear)
        if length > CHUNK_BYTES:
            raise Damaged("a chunk claims an impossible size")
        sealed = self._file.read(self._offset + len(clear), length + TAG_BYTES)
        if len(sealed) < length + TAG_BYTES:
            raise Damaged("the snapshot ends within a chunk")
        chunk = self._seal.open(self._number, sealed, clear)
        self._offset += len(clear) + len(sealed)
        self._number += 1
        self._is_complete = flag == _LAST
        if self._is_complete and self._file.size() != self._offset:
            raise Damaged("something stands behind the last chunk")
        return chunk

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._file.close()

    def __del__(self) -> None:
        """Nobody reads on."""
        if hasattr(self, "_file"):
            self._file.close()


def snapshot_name(index: int, origin: Origin) -> str:
    """Return the name of a snapshot's file; names sort by index."""
    return f"{index:020d}{origin}"


def _encode_header(
    meta: SnapshotMeta, position: Position, salt: bytes, epoch: int, sealed_under: bytes, meta_bytes: int
) -> bytes:
    fields = _HEADER.pack(
        _MAGIC,
        FORMAT_VERSION,
        epoch.to_bytes(EPOCH_BYTES, "big"),
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


def _read_header(file: File, name: str, path: str, keys: tuple[bytes, ...]) -> tuple[SnapshotFile, Seal, int]:
    """Return whose file it is, its seal, and where its chunks begin."""
    clear = file.read(0, _CLEAR_BYTES)
    fields = clear[: _HEADER.size]
    if len(clear) < _CLEAR_BYTES or not clear.startswith(_MAGIC):
        raise Damaged("the header of the snapshot is not there")
    if clear[_HEADER.size :] != _CHECKSUM.pack(zlib.crc32(fields)):
        raise Damaged("the checksum of the snapshot's header does not fit")
    _, version, epoch, index, term, segment, record, tag, salt, written_under, meta_bytes = _HEADER.unpack(fields)
    if version != FORMAT_VERSION:
        raise ForeignState(
            f"{path} has snapshot format {version}; this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
        )
    key = find_key(written_under, keys)
    if key is None:
        raise InvalidKey(f"{path} was sealed under another node's key; put its own keys beside it, or join again")
    if meta_bytes > _MAX_META_BYTES:
        raise Damaged("its header claims an impossible size")
    seal = Seal(key, salt, SNAPSHOT)
    sealed = file.read(_CLEAR_BYTES, meta_bytes + TAG_BYTES)
    try:
        meta = msgspec.msgpack.decode(seal.open(0, sealed, clear), type=SnapshotMeta)
    except msgspec.MsgspecError as error:
        raise Damaged(f"it opens, but describes no snapshot: {error}") from error
    if (meta.index, meta.term) != (index, term) or not name.startswith(f"{index:020d}."):
        raise Damaged("it is another snapshot than its name says")
    position = Position(segment, record, tag)
    found = SnapshotFile(name, meta, position, sealed[-TAG_BYTES:], written_under, int.from_bytes(epoch, "big"))
    return found, seal, _CLEAR_BYTES + len(sealed)


def _corrupt(path: str, offset: int, damage: Damaged) -> CorruptLog:
    return CorruptLog(f"{path} is damaged at byte {offset}: {damage}; {WAY_BACK}", path, offset, str(damage))
