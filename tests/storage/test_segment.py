"""A segment's header says whose it is and what it follows; breaks are judged by what lies behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from raftswarm.raft.log_entry import HardState
from raftswarm.storage.files import Place
from raftswarm.storage.records import SECTOR
from raftswarm.storage.sealing import SEGMENT, Damaged, Seal, key_id
from raftswarm.storage.segment import (
    Follows,
    OpenSegment,
    SegmentHeader,
    SegmentWriter,
    read_records,
    segment_name,
    segment_number,
    segment_size,
)

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

KEY = b"k" * 32
HEADER = SegmentHeader(
    number=5,
    cluster="ü" * 64,
    member_id=2**63 - 1,
    incarnation=2,
    boot=9,
    hard_state=HardState(term=4, voted_for=3),
    first_index=17,
    follows=Follows.SEGMENT,
    follows_position=12,
    follows_term=0,
    follows_tag=b"t" * 16,
)


@pytest.fixture
def place(disk: MemoryDisk, entropy: SeededEntropy) -> Place:
    disk.make_directory("log")
    return Place(disk, "log", KEY, entropy)


def encode(header: SegmentHeader, salt: bytes) -> bytes:
    return header.encode(Seal(KEY, salt * 32, SEGMENT), salt * 32, key_id(KEY))


def image_of(disk: MemoryDisk) -> bytes:
    return disk.image()[f"log/{segment_name(5)}"]


def test_a_header_comes_back_as_it_was_written() -> None:
    sector = encode(HEADER, b"s")

    assert len(sector) == SECTOR
    assert OpenSegment.parse(sector, KEY, "path").header == HEADER


def test_every_bit_of_a_header_counts() -> None:
    sector = encode(HEADER, b"s")

    for offset in range(SECTOR):
        with pytest.raises(Damaged):
            OpenSegment.parse(sector[:offset] + bytes([sector[offset] ^ 1]) + sector[offset + 1 :], KEY, "path")


def test_a_segment_is_zeroed_and_named_before_its_first_record(place: Place, disk: MemoryDisk) -> None:
    SegmentWriter(place, HEADER, 8000)

    found = image_of(disk.after_crash(lambda _: False))
    assert len(found) == 8192
    assert not any(found[SECTOR:])
    assert disk.list("log") == [segment_name(5)]


def test_each_record_is_durable_when_append_returns(place: Place, disk: MemoryDisk) -> None:
    writer = SegmentWriter(place, HEADER, 8192)
    for payload in (b"one", b"two" * 300, b"three"):
        writer.append(payload)

    found = image_of(disk.after_crash(lambda _: False))
    records, broken = read_records(OpenSegment.parse(found[:SECTOR], KEY, "path"), found)

    assert [record.payload for record in records] == [b"one", b"two" * 300, b"three"]
    assert [record.header.durable_upto for record in records] == [0, 1, 2]
    assert broken is None


def test_the_last_record_of_a_full_segment_still_gets_its_mark(place: Place, disk: MemoryDisk) -> None:
    writer = SegmentWriter(place, HEADER, segment_size(100))
    assert writer.has_room(100)
    writer.append(b"x" * 100)

    assert not writer.has_room(0)
    writer.mark()

    found = image_of(disk)
    assert len(read_records(OpenSegment.parse(found[:SECTOR], KEY, "path"), found)[0]) == 2


def test_a_finished_segment_gives_back_what_it_did_not_use(place: Place, disk: MemoryDisk) -> None:
    writer = SegmentWriter(place, HEADER, 8192)
    writer.append(b"one")

    writer.finish()

    assert len(image_of(disk)) == 1024


def test_no_two_segments_share_a_key(place: Place) -> None:
    sectors = [encode(attrs.evolve(HEADER, number=number), bytes([number])) for number in (1, 2)]
    first, second = (OpenSegment.parse(sector, KEY, "path") for sector in sectors)

    assert first.seal.close(1, b"same", b"") != second.seal.close(1, b"same", b"")


def test_a_segment_begun_again_has_another_key(place: Place, disk: MemoryDisk) -> None:
    SegmentWriter(place, HEADER, 1024)
    first = image_of(disk)
    SegmentWriter(place, HEADER, 1024)

    assert first[104:136] != image_of(disk)[104:136]


def test_a_record_that_does_not_name_the_one_before_it_breaks_the_chain(place: Place, disk: MemoryDisk) -> None:
    writer = SegmentWriter(place, HEADER, 4096)
    writer.append(b"one")
    writer.tag = b"x" * 16
    writer.append(b"two")
    image = image_of(disk)

    records, broken = read_records(OpenSegment.parse(image[:SECTOR], KEY, "path"), image)

    assert [record.payload for record in records] == [b"one"]
    assert broken is not None
    assert broken.proven_durable


def test_names_sort_like_numbers_and_other_names_are_no_segments() -> None:
    assert segment_name(9) < segment_name(10)
    assert segment_number(segment_name(10)) == 10
    for name in ("10", ".segment", "x.segment", "10.segment.part", "1².segment", "-1.segment"):
        assert segment_number(name) is None
