"""Snapshots of the tables: the same state gives the same bytes, and nothing else is taken for one."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.errors import CorruptLog, ForeignState
from raftswarm.objects.records import Node, NodeDescription, Service
from raftswarm.objects.specs import ServiceSpec
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.snapshot import MAGIC, MAX_CHUNK_BYTES, SNAPSHOT_VERSION, Header, TableHeader
from raftswarm.store.store import Store

GOLDEN = (
    "3b000000 93 c4 10 7261667473776172 6d207461626c6573 01"  # Magic, version 1, tables:
    "94 93 a4 6e6f6465 01 01  93 a7 73657276696365 00 00  93 a4 7461736b 00 00  93 a7 636c7573746572 00 00"
    "30000000 84 a2 6964 a2 6e31 a7 76657273696f6e 01"
    "aa 637265617465645f6174 ce 3b9aca00 aa 757064617465645f6174 ce 3b9aca00"
)


@pytest.fixture
def filled(store: Store, log: LoneProposer) -> Store:
    transaction = store.begin()
    transaction.create(Node(id="n1", description=NodeDescription(hostname="one", engine_labels={"b": "1", "a": "2"})))
    transaction.create(Service(id="s1", spec=ServiceSpec(name="web", labels={"big": "x" * MAX_CHUNK_BYTES})))
    log.apply(encode(transaction.change_set()))
    return store


def frame(record: bytes) -> bytes:
    return len(record).to_bytes(4, "little") + record


def header(*tables: TableHeader, magic: bytes = MAGIC, version: int = SNAPSHOT_VERSION) -> bytes:
    return frame(msgspec.msgpack.encode(Header(magic, version, tables)))


def test_the_format_is_what_version_one_says(store: Store, log: LoneProposer) -> None:
    transaction = store.begin()
    transaction.create(Node(id="n1"))
    log.apply(encode(transaction.change_set()))

    assert b"".join(store.capture().chunks()) == bytes.fromhex(GOLDEN)


def test_a_restored_store_is_the_captured_one(filled: Store) -> None:
    restored = Store()

    restored.restore(filled.capture().chunks())

    assert list(restored.find(Node)) == list(filled.find(Node))
    assert restored.by_name(Service, "WEB") == filled.get(Service, "s1")
    assert list(restored.capture().chunks()) == list(filled.capture().chunks())


def test_objects_stand_in_a_snapshot_sorted_by_id(store: Store, log: LoneProposer) -> None:
    transaction = store.begin()
    for node_id in ("n3", "n1", "n2"):
        transaction.create(Node(id=node_id))
    log.apply(encode(transaction.change_set()))

    stream = b"".join(store.capture().chunks())

    assert stream.index(b"n1") < stream.index(b"n2") < stream.index(b"n3")


def test_pieces_are_at_most_256_kib_even_if_an_object_is_larger(filled: Store) -> None:
    sizes = [len(chunk) for chunk in filled.capture().chunks()]

    assert len(sizes) == 2
    assert max(sizes) <= MAX_CHUNK_BYTES


def test_a_capture_does_not_see_what_changes_afterwards(filled: Store, log: LoneProposer) -> None:
    before = list(filled.capture().chunks())
    capture = filled.capture()
    transaction = filled.begin()
    transaction.delete(Node, "n1")

    log.apply(encode(transaction.change_set()))

    assert list(capture.chunks()) == before


def test_conflicts_are_found_across_a_snapshot(filled: Store) -> None:
    transaction = filled.begin()
    transaction.expect_unchanged(Node)
    transaction.create(Node(id="n2"))
    restored = Store()
    restored.restore(filled.capture().chunks())

    LoneProposer(restored).apply(encode(transaction.change_set()))

    assert restored.get(Node, "n2") is not None


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", CorruptLog),
        (b"\xff\xff\xff\x00junk", CorruptLog),
        (frame(b"\xc1"), CorruptLog),
        (header(magic=b"something else"), ForeignState),
        (header(version=SNAPSHOT_VERSION + 1), ForeignState),
        (header(TableHeader("spaceship", 0, 0)), ForeignState),
        (header(TableHeader("node", 1, 1)), CorruptLog),
        (header(TableHeader("node", 1, 1)) + frame(b"\x80"), CorruptLog),
        (header() + frame(b"\x80"), CorruptLog),
    ],
)
def test_what_is_no_snapshot_of_ours_leaves_the_tables_alone(filled: Store, stream: bytes, error: type) -> None:
    with pytest.raises(error):
        filled.restore([stream])

    assert filled.get(Node, "n1") is not None


def test_a_release_that_knew_fewer_tables_can_be_followed(store: Store) -> None:
    store.restore([header(TableHeader("node", 4, 1)) + frame(msgspec.msgpack.encode({"id": "n1", "version": 4}))])

    assert [node.id for node in store.find(Node)] == ["n1"]
