"""Backups: the state of a swarm in one sealed file that needs nothing else to be restored (docs/formats.md).

The form is that of a snapshot, under a key that the operator has: derived from a passphrase, or the unlock key. What is
clear says only how the file is sealed; whose state it is, and how old, is sealed with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

import attrs
import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, InvalidSpec
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.keys import parse_unlock_key
from raftswarm.storage.sealing import KEY_BYTES, SALT_BYTES, TAG_BYTES, Damaged, Seal, key_id
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import File

FORMAT_VERSION: Final = 1
CHUNK_BYTES: Final = 256 * 1024
SCRYPT_SALT_BYTES: Final = 16
MIN_PASSPHRASE_CHARACTERS: Final = 8
PURPOSE: Final = b"raftswarm backup 1"

_MAGIC: Final = b"RSWMBAK\n"
_HEADER: Final = struct.Struct(">8sHB5x16s32s8sI")
_CHECKSUM: Final = struct.Struct(">I")
_CLEAR_BYTES: Final = _HEADER.size + _CHECKSUM.size
_CHUNK: Final = struct.Struct(">BI")
_MAX_DESCRIPTION_BYTES: Final = 16 * 1024 * 1024
_SCRYPT_COST: Final = 2**15
"""About 0.1 s and 32 MiB for each guess."""


class SealedBy(IntEnum):
    """What opens a backup."""

    PASSPHRASE = 1
    UNLOCK_KEY = 2


@attrs.frozen
class BackupKey:
    """What seals a backup."""

    sealed_by: SealedBy
    key: bytes = attrs.field(repr=False)
    scrypt_salt: bytes = bytes(SCRYPT_SALT_BYTES)


class BackupDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state it is, and from when."""

    cluster_id: str
    epoch: int
    snapshot: SnapshotMeta
    """Where in the log the state stands."""
    saved_at_ns: int
    saved_by: str
    """Id of the node that made it."""
    release: str
    """Of raftswarm."""


def key_from_passphrase(passphrase: str, scrypt_salt: bytes) -> BackupKey:
    """Derive a key, slowly; InvalidSpec if the passphrase is too short to be one."""
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise InvalidSpec(f"a passphrase needs at least {MIN_PASSPHRASE_CHARACTERS} characters")
    derived = Scrypt(salt=scrypt_salt, length=KEY_BYTES, n=_SCRYPT_COST, r=8, p=1).derive(passphrase.encode())
    return BackupKey(SealedBy.PASSPHRASE, derived, scrypt_salt)


def key_from_unlock_key(unlock_key: str) -> BackupKey:
    """Use an unlock key; InvalidKey if it is none."""
    return BackupKey(SealedBy.UNLOCK_KEY, parse_unlock_key(unlock_key))


def seal_backup(
    description: BackupDescription, chunks: Iterable[bytes], key: BackupKey, entropy: Entropy
) -> Iterator[bytes]:
    """Give the file's bytes, piece by piece."""
    salt = entropy.token_bytes(SALT_BYTES)
    seal = Seal(key.key, salt, PURPOSE)
    plain = msgspec.msgpack.encode(description)
    fields = _HEADER.pack(_MAGIC, FORMAT_VERSION, key.sealed_by, key.scrypt_salt, salt, key_id(key.key), len(plain))
    header = fields + _CHECKSUM.pack(zlib.crc32(fields))
    yield header + seal.close(0, plain, header)
    number = 0
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            number += 1
            yield _seal_chunk(seal, number, chunk[start : start + CHUNK_BYTES], is_last=False)
    yield _seal_chunk(seal, number + 1, b"", is_last=True)


def _seal_chunk(seal: Seal, number: int, chunk: bytes, *, is_last: bool) -> bytes:
    clear = _CHUNK.pack(is_last, len(chunk))
    return clear + seal.close(number, chunk, clear)


class BackupFile:
    """A backup on disk, of which only the clear part was read."""

    def __init__(self, file: File, path: str) -> None:
        """Read the clear part; ForeignState if it is no backup, CorruptLog if it is damaged."""
        self._file = file
        self._path = path
        self._header = file.read(0, _CLEAR_BYTES)
        fields = self._header[: _HEADER.size]
        if not self._header.startswith(_MAGIC):
            raise ForeignState(f"{path} is not a backup of a swarm")
        if len(self._header) < _CLEAR_BYTES or self._header[_HEADER.size :] != _CHECKSUM.pack(zlib.crc32(fields)):
            raise self._corrupt(0, "the checksum of its header does not fit")
        _, version, sealed_by, self.scrypt_salt, self._salt, self._sealed_under, self._size = _HEADER.unpack(fields)
        if version != FORMAT_VERSION:
            raise ForeignState(
                f"{path} has backup format {version}; this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
            )
        if self._size > _MAX_DESCRIPTION_BYTES:
            raise self._corrupt(0, "its header claims an impossible size")
        if sealed_by not in set(SealedBy):
            raise self._corrupt(0, "it is sealed in a way that its format does not know")
        self.sealed_by = SealedBy(sealed_by)

    def open(self, key: BackupKey) -> tuple[BackupDescription, Iterator[bytes]]:
        """Return what it is, and its chunks as they are asked for; CorruptLog instead of a damaged one.

        InvalidKey if the key is not the one.
        """
        if key_id(key.key) != self._sealed_under:
            what = "passphrase" if self.sealed_by is SealedBy.PASSPHRASE else "unlock key"
            raise InvalidKey(f"{self._path} does not open with this {what}")
        seal = Seal(key.key, self._salt, PURPOSE)
        sealed = self._file.read(_CLEAR_BYTES, self._size + TAG_BYTES)
        try:
            plain = seal.open(0, sealed, self._header)
            description = msgspec.msgpack.decode(plain, type=BackupDescription)
        except (Damaged, msgspec.MsgspecError) as error:
            raise self._corrupt(_CLEAR_BYTES, str(error)) from None
        return description, self._read_chunks(seal)

    def _read_chunks(self, seal: Seal) -> Iterator[bytes]:
        offset, number = _CLEAR_BYTES + self._size + TAG_BYTES, 0
        is_last = False
        while not is_last:
            number += 1
            clear = self._file.read(offset, _CHUNK.size)
            if len(clear) < _CHUNK.size:
                raise self._corrupt(offset, "it ends before its last chunk")
            flag, length = _CHUNK.unpack(clear)
            if length > CHUNK_BYTES:
                raise self._corrupt(offset, "a chunk claims an impossible size")
            try:
                chunk = seal.open(number, self._file.read(offset + len(clear), length + TAG_BYTES), clear)
            except Damaged as damage:
                raise self._corrupt(offset, str(damage)) from None
            offset += len(clear) + length + TAG_BYTES
            is_last = flag == 1
            if not is_last:
                yield chunk
        if self._file.size() != offset:
            raise self._corrupt(offset, "something stands behind its last chunk")

    def _corrupt(self, offset: int, reason: str) -> CorruptLog:
        return CorruptLog(f"{self._path} is damaged at byte {offset}: {reason}; use another backup")
