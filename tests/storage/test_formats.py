"""Bytes on disk as docs/formats.md describes them: a change of bytes changes a version and a golden file.

To make new golden files, remove the old ones and run this module twice.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from raftswarm.raft.log_entry import Configuration, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

GOLDEN = Path(__file__).parent / "golden"
UNLOCK_KEY = "SWMKEY-1-" + "A" * 43
FILES = {
    "keys.bin": "state/certificates/keys",
    "segment-1.bin": "state/raft/log/00000000000000000001.segment",
    "segment-2.bin": "state/raft/log/00000000000000000002.segment",
    "saved.bin": "state/raft/snapshots/00000000000000000002.saved",
}


@pytest.fixture
def written(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, make_write: Callable[..., Write]
) -> dict[str, bytes]:
    """The files of a member after a short life."""
    keys.put("tls-key", b"private")
    keys.follow(UNLOCK_KEY, 9)
    MemberStorage.create(
        disk, "state/raft", keys, entropy, member_id=7, cluster="cluster-1", incarnation=1, segment_bytes=2048
    ).close()
    storage, _ = MemberStorage.open(disk, "state/raft", keys, entropy, segment_bytes=2048)
    storage.write(make_write(1, 2, term=3, hard_state=HardState(term=3, voted_for=7)))
    configuration = Configuration(voters=(MemberInfo(id=7, address="127.0.0.1:2377", name="n"),))
    storage.save_snapshot(
        SnapshotMeta(index=2, term=3, commands=2, time_ns=5, configuration=configuration), [b"the state"]
    )
    storage.mark()
    image = disk.image()
    return {name: image[path] for name, path in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_bytes_are_those_of_the_golden_file(written: dict[str, bytes], name: str) -> None:
    golden = GOLDEN / name
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(written[name])
        pytest.fail(f"{golden} was missing and is written now: look at it, change the version, commit it")

    assert written[name] == golden.read_bytes(), "bytes changed: change the version, docs/formats.md and this file"


def derive(key: bytes, salt: bytes | None, purpose: bytes, length: int = 32) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=purpose).derive(key)


def unseal(key: bytes, counter: int, sealed: bytes, clear: bytes) -> bytes:
    return AESGCM(key).decrypt(counter.to_bytes(12, "big"), sealed, clear)


def test_a_segment_can_be_read_with_the_document_alone(written: dict[str, bytes], keys: KeyRing) -> None:
    segment = written["segment-2.bin"]
    salt = segment[104:136]
    key = derive(keys.data_key, salt, b"raftswarm segment 1")

    assert segment[:8] == b"RSWMLOG\n"
    assert struct.unpack(">HB", segment[8:11]) == (1, 1)
    assert struct.unpack(">9Q", segment[16:88]) == (2, 7, 1, 1, 0, 0, 1, 0, 0)
    assert segment[88:104] == written["segment-1.bin"][496:512]
    assert segment[136:144] == derive(keys.data_key, None, b"raftswarm key id 1", 8)
    assert segment[144:155] == b"\x00\x09cluster-1"
    assert segment[492:496] == zlib.crc32(segment[:492]).to_bytes(4, "big")
    assert unseal(key, 0, segment[496:512], segment[:496]) == b""

    record = segment[512:1024]
    length = int.from_bytes(record[20:24], "big")
    assert record[:4] == b"RSWR"
    assert struct.unpack(">QQ", record[4:20]) == (2, 1)
    assert record[24:32] == bytes(8)
    assert record[32:48] == segment[496:512]
    assert record[48:52] == zlib.crc32(record[:48]).to_bytes(4, "big")
    payload = unseal(key, 1, record[52 : 52 + length + 16], record[:52])
    assert msgspec.msgpack.decode(payload) == [
        3,
        7,
        None,
        [[1, 3, 1, 1, 1, 0, b"entry 1 of term 3"], [2, 3, 1, 2, 1, 0, b"entry 2 of term 3"]],
    ]

    mark = segment[1024:1536]
    assert struct.unpack(">QQIQ", mark[4:32]) == (2, 2, 0, 1)
    assert mark[32:48] == record[52 + length : 52 + length + 16]
    assert unseal(key, 2, mark[52:68], mark[:52]) == b""
    assert not any(mark[68:])


def test_a_snapshot_can_be_read_with_the_document_alone(written: dict[str, bytes], keys: KeyRing) -> None:
    snapshot = written["saved.bin"]
    key = derive(keys.data_key, snapshot[64:96], b"raftswarm snapshot 1")
    length = int.from_bytes(snapshot[104:108], "big")
    end = 112 + length + 16

    assert snapshot[:8] == b"RSWMSNP\n"
    assert struct.unpack(">H", snapshot[8:10]) == (1,)
    assert struct.unpack(">4Q", snapshot[16:48]) == (2, 3, 2, 1)
    record = written["segment-2.bin"][512:1024]
    last = 52 + int.from_bytes(record[20:24], "big") + 16
    assert snapshot[48:64] == record[last - 16 : last]
    assert snapshot[108:112] == zlib.crc32(snapshot[:108]).to_bytes(4, "big")
    assert msgspec.msgpack.decode(unseal(key, 0, snapshot[112:end], snapshot[:112])) == {
        "index": 2,
        "term": 3,
        "commands": 2,
        "time_ns": 5,
        "configuration": {
            "voters": [{"id": 7, "address": "127.0.0.1:2377", "name": "n"}],
            "learners": [],
            "outgoing": [],
        },
    }
    first, last_chunk = snapshot[end : end + 5 + 9 + 16], snapshot[end + 5 + 9 + 16 :]
    assert first[:5] == b"\0\0\0\0\x09"
    assert unseal(key, 1, first[5:], first[:5]) == b"the state"
    assert last_chunk[:5] == b"\x01\0\0\0\0"
    assert unseal(key, 2, last_chunk[5:], last_chunk[:5]) == b""


def test_keys_can_be_read_with_the_document_alone(written: dict[str, bytes], keys: KeyRing) -> None:
    ring = written["keys.bin"]
    unlock_key = bytes(32)

    assert ring[:8] == b"RSWMKEY\n"
    assert struct.unpack(">HB", ring[8:11]) == (1, 1)
    assert ring[16:24] == derive(unlock_key, None, b"raftswarm key id 1", 8)
    assert ring[-4:] == zlib.crc32(ring[:-4]).to_bytes(4, "big")
    key = derive(unlock_key, ring[24:56], b"raftswarm keys 1")
    assert msgspec.msgpack.decode(unseal(key, 0, ring[56:-4], ring[:56])) == {
        "data-key": keys.data_key,
        "lock-version": (9).to_bytes(8, "big"),
        "tls-key": b"private",
    }
