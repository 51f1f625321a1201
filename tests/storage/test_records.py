"""A record verifies alone, wherever a reader finds it (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.raft.log_entry import HardState
from raftswarm.raft.ready import Write
from raftswarm.storage.records import (
    HEADER_BYTES,
    SECTOR,
    Content,
    RecordHeader,
    decode_content,
    encode_content,
    find_records,
    open_chain,
    open_record,
    record_size,
    seal_record,
    whole_sectors,
)
from raftswarm.storage.sealing import SEGMENT, TAG_BYTES, Damaged, Seal

SEAL = Seal(b"k" * 32, b"s" * 32, SEGMENT)
FIRST_TAG = b"f" * 16
"""What the first record of a chain names as the one before it."""


def make_record(number: int, payload: bytes = b"payload", segment: int = 5) -> bytes:
    header = RecordHeader(
        segment=segment, number=number, length=len(payload), durable_upto=number - 1, previous_tag=b"p" * 16
    )
    buffers, _ = seal_record(SEAL, header, payload)
    return b"".join(buffers)


def make_chain(*payloads: bytes, first_number: int = 1, tag: bytes = FIRST_TAG, segment: int = 5) -> bytes:
    image = b""
    for number, payload in enumerate(payloads, first_number):
        header = RecordHeader(
            segment=segment, number=number, length=len(payload), durable_upto=number - 1, previous_tag=tag
        )
        buffers, tag = seal_record(SEAL, header, payload)
        image += b"".join(buffers)
    return image


def read_chain(image: bytes) -> list[bytes]:
    return [record.payload for record in open_chain(SEAL, 5, image, 0, FIRST_TAG)]


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


def test_a_chain_is_read_to_the_zeros_behind_it_or_to_the_end() -> None:
    payloads = [b"one", b"", b"three" * 300]
    image = make_chain(*payloads)

    assert read_chain(image) == payloads
    assert read_chain(image + bytes(4096)) == payloads
    assert read_chain(b"") == []


def test_a_chain_says_of_each_record_what_its_careful_reader_says() -> None:
    image = make_chain(b"one", b"two" * 300, b"three")

    chain = open_chain(SEAL, 5, image, 0, FIRST_TAG)

    assert chain == [open_record(SEAL, 5, image, record.offset) for record in chain]
    assert [record.end for record in chain] == [*[record.offset for record in chain[1:]], len(image)]


def test_every_bit_of_a_record_counts_for_its_chain() -> None:
    image = make_chain(b"one", b"two", b"three")
    first, second, third = image[:SECTOR], image[SECTOR : 2 * SECTOR], image[2 * SECTOR :]

    for bit in range(8 * (HEADER_BYTES + len(b"two") + TAG_BYTES)):
        damaged = bytearray(second)
        damaged[bit // 8] ^= 1 << bit % 8
        assert read_chain(first + damaged + third) == [b"one"]


LAST_TAG = open_record(SEAL, 5, make_chain(b"one"), 0).tag


@pytest.mark.parametrize(
    "following",
    [
        pytest.param(make_chain(b"two", first_number=3, tag=LAST_TAG), id="numbered after the next"),
        pytest.param(make_chain(b"two", first_number=2, tag=b"x" * 16), id="follows another record"),
        pytest.param(make_chain(b"two", first_number=2, tag=LAST_TAG, segment=4), id="of another segment"),
        pytest.param(make_chain(b"two", first_number=2, tag=LAST_TAG)[:70], id="cut short"),
        pytest.param(make_chain(b"two", first_number=2, tag=LAST_TAG)[:20], id="cut in its header"),
    ],
)
def test_a_chain_ends_before_a_record_that_does_not_belong_to_it(following: bytes) -> None:
    assert read_chain(make_chain(b"one") + following) == [b"one"]


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
