"""Backups (docs/formats.md): sealed, whole or refused, and opened by nothing but their key."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, InvalidSpec
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.backup import (
    BackupDescription,
    BackupFile,
    BackupKey,
    SealedBy,
    key_from_passphrase,
    key_from_unlock_key,
    seal_backup,
)

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

KEY = BackupKey(SealedBy.PASSPHRASE, b"k" * 32, b"s" * 16)
DESCRIPTION = BackupDescription(
    cluster_id="c",
    epoch=7,
    snapshot=SnapshotMeta(index=9, term=2, commands=8),
    saved_at_ns=1,
    saved_by="n",
    release="1",
)
CHUNKS = [b"one", b"two" * 100_000]


@pytest.fixture
def image(entropy: SeededEntropy) -> bytes:
    return b"".join(seal_backup(DESCRIPTION, CHUNKS, KEY, entropy))


@pytest.fixture
def load(disk: MemoryDisk) -> Callable[[bytes], BackupFile]:
    disk.make_directory("b")

    def put(data: bytes) -> BackupFile:
        file = disk.open("b/file", create=True)
        file.truncate(0)
        file.write(0, [data])
        return BackupFile(file, "b/file")

    return put


def test_what_was_saved_is_read_back(image: bytes, load: Callable[[bytes], BackupFile]) -> None:
    backup = load(image)

    description, chunks = backup.open(KEY)

    assert (backup.sealed_by, backup.scrypt_salt) == (SealedBy.PASSPHRASE, KEY.scrypt_salt)
    assert description == DESCRIPTION
    assert b"".join(chunks) == b"".join(CHUNKS)


def test_nothing_of_it_can_be_read_without_its_key(image: bytes, load: Callable[[bytes], BackupFile]) -> None:
    assert b"two" not in image
    with pytest.raises(InvalidKey, match="does not open with this passphrase"):
        load(image).open(BackupKey(SealedBy.PASSPHRASE, b"x" * 32))


def test_a_passphrase_gives_the_same_key_with_the_same_salt_only() -> None:
    key = key_from_passphrase("correct horse", b"a" * 16)

    assert key == key_from_passphrase("correct horse", b"a" * 16)
    assert key != key_from_passphrase("correct horse", b"b" * 16)
    assert "correct" not in repr(key)
    assert repr(key.key) not in repr(key)
    with pytest.raises(InvalidSpec, match="at least 8 characters"):
        key_from_passphrase("short", b"a" * 16)


def test_an_unlock_key_seals_as_well(entropy: SeededEntropy, load: Callable[[bytes], BackupFile]) -> None:
    key = key_from_unlock_key("SWMKEY-1-" + "A" * 43)
    backup = load(b"".join(seal_backup(DESCRIPTION, CHUNKS, key, entropy)))

    assert backup.sealed_by is SealedBy.UNLOCK_KEY
    assert backup.open(key)[0] == DESCRIPTION
    with pytest.raises(InvalidKey, match="does not open with this unlock key"):
        backup.open(key_from_unlock_key("SWMKEY-1-" + "B" * 42 + "A"))
    with pytest.raises(InvalidKey, match="invalid key string"):
        key_from_unlock_key("nonsense")


def test_any_flipped_bit_and_any_missing_end_is_noticed(
    entropy: SeededEntropy, load: Callable[[bytes], BackupFile]
) -> None:
    image = b"".join(seal_backup(DESCRIPTION, [b"one", b"two"], KEY, entropy))
    for offset in range(len(image)):
        flipped = bytearray(image)
        flipped[offset] ^= 1 << offset % 8
        for damaged in (bytes(flipped), image[:offset]):
            with pytest.raises((CorruptLog, ForeignState)):
                list(load(damaged).open(KEY)[1])
    with pytest.raises(CorruptLog, match="something stands behind its last chunk"):
        list(load(image + b"x").open(KEY)[1])


def test_chunks_in_another_order_are_refused(entropy: SeededEntropy, load: Callable[[bytes], BackupFile]) -> None:
    header, first, second, last = seal_backup(DESCRIPTION, [b"one", b"two"], KEY, entropy)

    with pytest.raises(CorruptLog):
        list(load(header + second + first + last).open(KEY)[1])


def test_what_is_no_backup_is_refused(load: Callable[[bytes], BackupFile]) -> None:
    with pytest.raises(ForeignState, match="b/file is not a backup of a swarm"):
        load(b"something else")


def test_a_backup_can_be_read_with_the_document_alone(image: bytes) -> None:
    magic, version, sealed_by, scrypt_salt, salt, _, size = struct.unpack(">8sHB5x16s32s8sI", image[:76])
    assert (magic, version, sealed_by, scrypt_salt) == (b"RSWMBAK\n", 1, 1, b"s" * 16)
    assert struct.unpack(">I", image[76:80])[0] == zlib.crc32(image[:76])
    key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"raftswarm backup 1").derive(b"k" * 32)
    described = AESGCM(key).decrypt(bytes(12), image[80 : 80 + size + 16], image[:80])
    assert msgspec.msgpack.decode(described)["cluster_id"] == "c"
    chunk = image[80 + size + 16 :]
    assert chunk[:5] == b"\0\0\0\0\3"
    assert AESGCM(key).decrypt((1).to_bytes(12, "big"), chunk[5 : 5 + 3 + 16], chunk[:5]) == b"one"
