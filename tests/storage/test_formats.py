"""Bytes on disk as docs/formats.md describes them: a change of bytes changes a version, and adds a fixture.

`fixtures/state-1` is a state directory of format 1. What is released must be read for ever: a fixture is never changed,
and the next version gets one beside it, by `write_state`. While a version is not released: remove the directory, run
this module twice, look at what changed.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from raftswarm.consensus.opening import prepare_newest
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.raft.log_entry import EntryKind, HardState
from raftswarm.raft.state_machine import Context
from raftswarm.recipes.machine import RecipeMachine
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.state_directory import lock_state
from raftswarm.wire.batch import decode_batch
from tests.storage.written_state import (
    CLUSTER,
    COUNT_UP,
    FIRST,
    MEMBER,
    OPENED,
    RECEIVED,
    SAVED,
    SECOND,
    SECOND_NS,
    THIRD,
    UNLOCK_KEY,
    write_state,
)

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

FIXTURE = Path(__file__).parent / "fixtures" / "state-1"
LOG = "raft/log/{:020d}.segment"
COUNT = b"\xc1\x01\x92\x0a\xa5count"
"""Ask for the counter ``count``."""


def read_fixture() -> dict[str, bytes]:
    return {str(path.relative_to(FIXTURE)): path.read_bytes() for path in sorted(FIXTURE.rglob("*")) if path.is_file()}


@pytest.fixture
def kept(disk: MemoryDisk) -> MemoryDisk:
    """A disk with a state directory that was written by the first version."""
    for name, content in read_fixture().items():
        path = f"state/{name}"
        disk.make_directory(path.rpartition("/")[0])
        disk.open(path, create=True).write(0, [content])
    return disk


def test_the_bytes_are_those_of_the_fixture(disk: MemoryDisk, entropy: SeededEntropy) -> None:
    write_state(disk, entropy)
    written = {name.removeprefix("state/"): content for name, content in disk.image().items()}
    if not FIXTURE.exists():
        for name, content in written.items():
            (FIXTURE / name).parent.mkdir(parents=True, exist_ok=True)
            (FIXTURE / name).write_bytes(content)
        pytest.fail(f"{FIXTURE} was missing and is written now: look at it, document it, commit it")

    kept = read_fixture()

    assert sorted(written) == sorted(kept)
    changed = [name for name in written if written[name] != kept[name]]
    assert not changed, "bytes changed: change the version and docs/formats.md, and add a fixture beside this one"


def test_a_state_directory_of_version_1_opens(kept: MemoryDisk, entropy: SeededEntropy) -> None:
    lock_state(kept, "state")
    keys = KeyRing.open(kept, "state/certificates", entropy)
    storage, recovered = MemberStorage.open(kept, "state/raft", keys, entropy)

    assert keys.get("tls") == b"private"
    assert (recovered.member_id, recovered.cluster, recovered.incarnation) == (MEMBER, CLUSTER, 1)
    assert (recovered.boot, recovered.hard_state, recovered.torn_bytes) == (3, HardState(term=3), 0)
    assert recovered.snapshot == SAVED
    entries = [(entry.index, entry.term, entry.kind, entry.first_command) for entry in recovered.entries]
    assert entries == [
        (1, 1, EntryKind.CONFIGURATION, 1),
        (2, 2, EntryKind.BLANK, 1),
        (3, 2, EntryKind.COMMANDS, 1),
        (4, 3, EntryKind.COMMANDS, 4),
        (5, 3, EntryKind.COMMANDS, 5),
    ]
    decoded = [decode_batch(entry.command_count, entry.data) for entry in recovered.entries[2:]]
    assert decoded == [FIRST, SECOND, THIRD]

    machine = SessionMachine(RecipeMachine())
    prepare_newest(storage, machine)()
    assert machine.query(COUNT) == 2
    for entry in recovered.entries[3:]:
        for position, command in enumerate(decode_batch(entry.command_count, entry.data)):
            machine.apply(command, Context(entry.first_command + position, entry.time_ns, entry.index, entry.term))
    assert machine.query(COUNT) == 4
    assert len(machine.sessions) == 1


def test_a_group_that_was_sent_a_snapshot_opens(kept: MemoryDisk, entropy: SeededEntropy) -> None:
    keys = KeyRing.open(kept, "state/certificates", entropy)
    storage, recovered = MemberStorage.open(kept, "state/groups/orders", keys, entropy)
    found = storage.read_snapshot()

    assert (recovered.cluster, recovered.incarnation, recovered.boot) == (f"{CLUSTER}/orders", 2, 2)
    assert recovered.snapshot == RECEIVED
    assert [entry.index for entry in recovered.entries] == [51]
    assert found is not None
    assert list(found[1]) == [b"the leader's ", b"state"]


def test_a_locked_key_ring_of_version_1_opens(kept: MemoryDisk, entropy: SeededEntropy) -> None:
    keys = KeyRing.open(kept, "state/locked", entropy, unlock_key=UNLOCK_KEY)

    assert keys.locked_by == UNLOCK_KEY
    assert len(keys.data_key) == 32


# With nothing but the document.


def derive(key: bytes, salt: bytes | None, purpose: bytes, length: int = 32) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=purpose).derive(key)


def unseal(key: bytes, counter: int, sealed: bytes, clear: bytes) -> bytes:
    return AESGCM(key).decrypt(counter.to_bytes(12, "big"), sealed, clear)


def key_id(key: bytes) -> bytes:
    return derive(key, None, b"raftswarm key id 1", 8)


@pytest.fixture
def data_key() -> bytes:
    files = read_fixture()
    ring, sealing_key = files["certificates/keys"], files["certificates/kek"]
    return read_ring(ring, sealing_key)["data-key"]


def read_ring(ring: bytes, sealing_key: bytes) -> dict[str, bytes]:
    assert ring[:8] == b"RSWMKEY\n"
    assert ring[8:10] == b"\0\x01"
    assert ring[11:16] == bytes(5)
    assert ring[16:24] == key_id(sealing_key)
    assert ring[-4:] == zlib.crc32(ring[:-4]).to_bytes(4, "big")
    plain = unseal(derive(sealing_key, ring[24:56], b"raftswarm keys 1"), 0, ring[56:-4], ring[:56])
    return msgspec.msgpack.decode(plain, type=dict[str, bytes])


def test_the_directory_can_be_read_with_the_document_alone() -> None:
    files = read_fixture()

    assert files["format"] == b"raftswarm state 1\n"
    assert files["lock"] == b""
    assert read_ring(files["certificates/keys"], files["certificates/kek"]).keys() == {"data-key", "tls"}
    assert files["certificates/keys"][10] == 0
    assert files["locked/keys"][10] == 1
    assert read_ring(files["locked/keys"], bytes(32)).keys() == {"data-key", "earlier-data-keys"}
    assert "locked/kek" not in files


def test_headers_of_segments_can_be_read_with_the_document_alone(data_key: bytes) -> None:
    files = read_fixture()
    numbers = sorted(int(Path(name).stem) for name in files if name.startswith("raft/log/"))
    headers = {}
    for number in numbers:
        segment = files[LOG.format(number)]
        assert segment[:10] == b"RSWMLOG\n\0\x01"
        assert segment[11:16] == bytes(5)
        assert segment[136:144] == key_id(data_key)
        assert segment[144:146] == len(CLUSTER).to_bytes(2, "big")
        assert segment[146:274] == CLUSTER.encode().ljust(128, b"\0")
        assert segment[274:492] == bytes(218)
        assert segment[492:496] == zlib.crc32(segment[:492]).to_bytes(4, "big")
        key = derive(data_key, segment[104:136], b"raftswarm segment 1")
        assert unseal(key, 0, segment[496:512], segment[:496]) == b""
        headers[number] = (segment[10], *struct.unpack(">9Q", segment[16:88]))

    # What it follows; number, member, incarnation, boot, term, vote, first index, record it follows, its term.
    assert headers == {
        1: (0, 1, MEMBER, 1, 0, 0, 0, 1, 0, 0),
        2: (1, 2, MEMBER, 1, 1, 0, 0, 1, 0, 0),
        3: (1, 3, MEMBER, 1, 1, 2, MEMBER, 5, 3, 0),
        4: (1, 4, MEMBER, 1, 2, 3, 0, 5, 2, 0),
    }
    group = files[f"groups/orders/log/{3:020d}.segment"]
    assert group[10] == 2
    assert struct.unpack(">2Q", group[72:88]) == (RECEIVED.index, RECEIVED.term)
    snapshot = files[f"groups/orders/snapshots/{RECEIVED.index:020d}.received"]
    assert group[88:104] == snapshot[112 + int.from_bytes(snapshot[104:108], "big") :][:16]


def read_records(segment: bytes, data_key: bytes) -> list[object]:
    """Return what the records hold, None for a mark."""
    key = derive(data_key, segment[104:136], b"raftswarm segment 1")
    offset, number, tag = 512, 1, segment[496:512]
    found: list[object] = []
    while any(segment[offset:]):
        length = int.from_bytes(segment[offset + 20 : offset + 24], "big")
        end = offset + 52 + length + 16
        assert segment[offset : offset + 4] == b"RSWR"
        assert struct.unpack(">QQ", segment[offset + 4 : offset + 20]) == (
            int.from_bytes(segment[16:24], "big"),
            number,
        )
        assert int.from_bytes(segment[offset + 24 : offset + 32], "big") == number - 1
        assert segment[offset + 32 : offset + 48] == tag
        assert segment[offset + 48 : offset + 52] == zlib.crc32(segment[offset : offset + 48]).to_bytes(4, "big")
        plain = unseal(key, number, segment[offset + 52 : end], segment[offset : offset + 52])
        found.append(msgspec.msgpack.decode(plain) if plain else None)
        tag = segment[end - 16 : end]
        offset = -(-end // 512) * 512
        assert not any(segment[end:offset])
        number += 1
    return found


def test_records_can_be_read_with_the_document_alone(data_key: bytes) -> None:
    files = read_fixture()
    configuration = {
        "voters": [{"id": MEMBER, "address": "127.0.0.1:2377", "name": "n", "priority": 2}],
        "learners": [{"id": 9, "address": "127.0.0.2:2377", "name": "m", "promote": True}],
        "outgoing": [],
    }

    def batch(*payloads: bytes) -> bytes:
        return msgspec.msgpack.encode(list(payloads))

    first, second, third = (batch(*payloads) for payloads in (FIRST, SECOND, THIRD))
    assert msgspec.msgpack.decode(read_records(files[LOG.format(2)], data_key)[0][3][0][6]) == configuration  # type: ignore[index]
    assert read_records(files[LOG.format(1)], data_key) == []
    assert read_records(files[LOG.format(2)], data_key)[1:] == [
        [2, MEMBER, None, [[2, 2, 0, 1, 0, 2 * SECOND_NS, b""], [3, 2, 1, 1, 3, 3 * SECOND_NS, first]]],
        [None, 0, None, [[4, 2, 1, 4, 1, 4 * SECOND_NS, third]]],
    ]
    assert read_records(files[LOG.format(3)], data_key) == [[3, 0, 3, [[4, 3, 1, 4, 1, 4 * SECOND_NS, second]]], None]
    assert read_records(files[LOG.format(4)], data_key) == [
        [None, 0, None, [[5, 3, 1, 5, 1, 5 * SECOND_NS, third]]],
        None,
    ]


def test_envelopes_can_be_read_with_the_document_alone() -> None:
    assert [FIRST[0], FIRST[1]] == [b"\0" + COUNT_UP, b"\x01" + bytes(range(16))]
    assert [b"\x02" + struct.pack(">QQQ", OPENED, 1, 0) + COUNT_UP] == SECOND


def read_chunks(snapshot: bytes, data_key: bytes) -> tuple[object, list[bytes]]:
    """Return the description and the plain chunks."""
    key = derive(data_key, snapshot[64:96], b"raftswarm snapshot 1")
    end = 112 + int.from_bytes(snapshot[104:108], "big") + 16
    assert snapshot[:16] == b"RSWMSNP\n\0\x01" + bytes(6)
    assert snapshot[96:104] == key_id(data_key)
    assert snapshot[108:112] == zlib.crc32(snapshot[:108]).to_bytes(4, "big")
    described = msgspec.msgpack.decode(unseal(key, 0, snapshot[112:end], snapshot[:112]))
    chunks: list[bytes] = []
    is_last = False
    while not is_last:
        begin, is_last = end, snapshot[end] == 1
        end = begin + 5 + int.from_bytes(snapshot[begin + 1 : begin + 5], "big") + 16
        chunks.append(unseal(key, len(chunks) + 1, snapshot[begin + 5 : end], snapshot[begin : begin + 5]))
    assert end == len(snapshot)
    return described, chunks


def test_snapshots_can_be_read_with_the_document_alone(data_key: bytes) -> None:
    files = read_fixture()
    saved = files[f"raft/snapshots/{SAVED.index:020d}.saved"]
    described, chunks = read_chunks(saved, data_key)

    # Index, term, and the newest record when it was saved: the first one of segment 3.
    assert struct.unpack(">4Q", saved[16:48]) == (3, 2, 3, 1)
    record = files[LOG.format(3)][512:1024]
    end = 52 + int.from_bytes(record[20:24], "big") + 16
    assert saved[48:64] == record[end - 16 : end]
    assert described == msgspec.msgpack.decode(msgspec.msgpack.encode(SAVED))
    version, size = msgspec.msgpack.decode(chunks[0])
    assert (version, len(chunks[1])) == (1, size)
    assert msgspec.msgpack.decode(chunks[1]) == [[OPENED, bytes(range(16)), 3 * SECOND_NS, 0, []]]
    header_bytes = int.from_bytes(chunks[2][:4], "little")
    assert msgspec.msgpack.decode(chunks[2][4 : 4 + header_bytes]) == [b"raftswarm recipes", 1, 3 * SECOND_NS, 1]
    assert msgspec.msgpack.decode(chunks[2][8 + header_bytes :]) == ["count", ["counter", 2]]
    assert chunks[3:] == [b""]

    received = files[f"groups/orders/snapshots/{RECEIVED.index:020d}.received"]
    assert struct.unpack(">4Q", received[16:48]) == (50, 4, 0, 0)
    assert received[48:64] == bytes(16)
    assert read_chunks(received, data_key)[1] == [b"the leader's ", b"state", b""]
