"""A record verifies alone, wherever a reader finds it (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.raft.log_entry import HardState
from raftswarm.raft.ready import Write
from raftswarm.storage.records import (
    SECTOR,
    Content,
    RecordHeader,
    decode_content,
    encode_content,
    find_records,
    open_record,
    record_size,
    seal_record,
    whole_sectors,
)
from raftswarm.storage.sealing import SEGMENT, Damaged, Seal

SEAL = Seal(b"k" * 32, b"s" * 32, SEGMENT)


def make_record(number: int, payload: bytes = b"payload", segment: int = 5) -> bytes:
    header = RecordHeader(
        segment=segment, number=number, length=len(payload), durable_upto=number - 1, previous_tag=b"p" * 16
    )
    buffers, _ = seal_record(SEAL, header, payload)
    return b"".join(buffers)


@pytest.mark.parametrize("length", [0, 1, 443, 444, 445, 2000])
def test_a_record_fills_whole_sectors_and_comes_back(length: int) -> None:
    image = make_record(1, b"x" * length)

    record = open_record(SEAL, 5, image, 0)

    assert len(image) == record_size(length) == record.header.size
    assert len(image) % SECTOR == 0
    assert record.payload == b"x" * length
    assert record.tag in image


def test_444_bytes_are_the_most_that_fit_a_sector() -> None:
    assert record_size(444) == SECTOR
    assert record_size(445) == 2 * SECTOR
    assert [whole_sectors(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]


def test_a_record_of_another_segment_does_not_open() -> None:
    with pytest.raises(Damaged, match="a record of segment 4 stands here"):
        open_record(SEAL, 5, make_record(1, segment=4), 0)


def test_a_record_cut_short_does_not_open() -> None:
    with pytest.raises(Damaged, match="the file ends within the record"):
        open_record(SEAL, 5, make_record(1)[:70], 0)
    with pytest.raises(Damaged, match="no record begins here"):
        open_record(SEAL, 5, make_record(1)[:50], 0)


def test_records_are_found_behind_whatever_lies_between() -> None:
    rubbish = b"RSWR" * 128
    damaged = bytearray(make_record(2))
    damaged[70] ^= 1
    behind = make_record(3) + bytes(512) + make_record(4) + make_record(5, segment=4)
    image = make_record(1) + rubbish + damaged + behind

    found = find_records(SEAL, 5, image, SECTOR)

    assert [record.header.number for record in found] == [3, 4]


def test_only_sectors_begin_a_record() -> None:
    assert find_records(SEAL, 5, b"x" + make_record(1), 0) == []


def test_a_write_is_what_its_record_says(make_write: Callable[..., Write]) -> None:
    write = make_write(3, 4, term=2, hard_state=HardState(term=2, voted_for=2**63 - 1), truncate_after=2)

    content = decode_content(encode_content(Content.of(write)))

    assert content is not None
    assert (content.hard_state, content.truncate_after, content.entries) == (write.hard_state, 2, write.entries)


def test_a_write_without_a_hard_state_is_told_from_one_with_an_empty_one(make_write: Callable[..., Write]) -> None:
    without, empty = Content.of(make_write(1)), Content.of(make_write(1, hard_state=HardState()))

    assert without.hard_state is None
    assert empty.hard_state == HardState()


def test_a_mark_holds_nothing() -> None:
    assert decode_content(b"") is None


@pytest.mark.parametrize("payload", [b"\xc1", b"\x90", b"\x94\xa1x\x00\xc0\x90", b"\x94\xc0\x00\xc0\x91\x90"])
def test_a_payload_that_makes_no_sense_is_damage(payload: bytes) -> None:
    with pytest.raises(Damaged, match="holds no write"):
        decode_content(payload)
