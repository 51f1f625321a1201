"""Damage in what was synced is refused, a torn tail is cut, and neither is ever served (docs/formats.md)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog, ForeignState, StorageError
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.segment import segment_name

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
SEGMENT_BYTES = 4096

MakeWrite = Callable[..., Write]
Run = Callable[["MemoryDisk"], tuple[MemberStorage, Recovered]]


def path_of(number: int) -> str:
    return f"{RAFT}/log/{segment_name(number)}"


@pytest.fixture
def run(keys: KeyRing, entropy: SeededEntropy) -> Run:
    """Start the member on that disk."""
    return lambda disk: MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=SEGMENT_BYTES)


@pytest.fixture
def member(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, run: Run) -> MemberStorage:
    """A member that runs; its segments are 1 (from its creation) and 2."""
    MemberStorage.create(
        disk, RAFT, keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=SEGMENT_BYTES
    ).close()
    return run(disk)[0]


def indexes(recovered: Recovered) -> list[int]:
    return [entry.index for entry in recovered.entries]


def test_a_torn_last_record_is_cut_and_counted(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    disk.names[path_of(2)].seen[1024 + 60] ^= 1  # In the second record.

    _, recovered = run(disk)

    assert indexes(recovered) == [1]
    assert 60 < recovered.torn_bytes <= 512


@pytest.mark.parametrize("kept", [0, 1, 55, 56, 57, 80, 90])
def test_a_last_record_of_which_some_bytes_arrived_is_cut(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite, kept: int
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    disk.names[path_of(2)].seen[1024 + kept : 1536] = bytes(512 - kept)

    _, recovered = run(disk)

    assert indexes(recovered) == [1]
    assert recovered.torn_bytes == kept


def test_what_was_cut_stays_away_and_the_log_goes_on(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    disk.names[path_of(2)].seen[1024 + 60] ^= 1
    again, _ = run(disk)
    again.write(make_write(2, term=2))

    entries = run(disk)[1].entries

    assert [(entry.index, entry.term) for entry in entries] == [(1, 1), (2, 2)]


def test_damage_before_a_later_record_is_refused_with_file_place_and_the_way_back(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    for index in (1, 2, 3):
        member.write(make_write(index))
    disk.names[path_of(2)].seen[1024 + 60] ^= 1

    with pytest.raises(CorruptLog) as refused:
        run(disk)

    assert str(refused.value) == (
        f"{path_of(2)} is damaged at byte 1024: it does not open with this node's key; take this member out, "
        "empty its directory and let it join again, or restore its state from a backup"
    )


def test_a_mark_lets_damage_to_the_last_record_be_seen(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    member.mark()
    disk.names[path_of(2)].seen[1024 + 60] ^= 1

    with pytest.raises(CorruptLog, match="damaged at byte 1024"):
        run(disk)


def test_a_damaged_mark_costs_nothing(disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite) -> None:
    member.write(make_write(1))
    member.mark()
    disk.names[path_of(2)].seen[1024 + 3] ^= 1

    assert indexes(run(disk)[1]) == [1]


def test_an_idle_log_is_marked_once(disk: MemoryDisk, member: MemberStorage, make_write: MakeWrite) -> None:
    member.write(make_write(1))
    member.mark()
    calls = disk.calls

    member.mark()

    assert disk.calls == calls


def test_several_damaged_records_are_stepped_over_to_find_the_proof(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    for index in range(1, 6):
        member.write(make_write(index))
    disk.names[path_of(2)].seen[1024 : 1024 + 3 * 512] = bytes(3 * 512)

    with pytest.raises(CorruptLog, match="damaged at byte 1024: no record begins here"):
        run(disk)


def test_damage_in_a_finished_segment_is_refused_even_at_its_last_record(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    run(disk)
    disk.names[path_of(2)].seen[512 + 60] ^= 1

    with pytest.raises(CorruptLog, match=f"{path_of(2)} is damaged at byte 512"):
        run(disk)


def test_a_record_put_back_in_the_place_of_a_later_one_is_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    for index in (1, 2, 3):
        member.write(make_write(index))
    seen = disk.names[path_of(2)].seen
    seen[1536:2048] = seen[1024:1536]

    with pytest.raises(CorruptLog, match="record 2 stands where 3 belongs"):
        run(disk)


def test_swapped_records_are_refused(disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite) -> None:
    for index in (1, 2, 3):
        member.write(make_write(index))
    seen = disk.names[path_of(2)].seen
    seen[512:1024], seen[1024:1536] = seen[1024:1536], seen[512:1024]

    with pytest.raises(CorruptLog, match="record 2 stands where 1 belongs"):
        run(disk)


@pytest.mark.parametrize("wrong", [3, 1])
def test_entries_that_do_not_follow_each_other_are_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite, wrong: int
) -> None:
    member.write(make_write(1))
    member.write(make_write(wrong))

    with pytest.raises(CorruptLog, match=f"damaged at byte 1024: entry {wrong} follows entry 1"):
        run(disk)


def test_a_record_behind_a_gap_is_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    seen = disk.names[path_of(2)].seen
    seen[1536:2048] = seen[512:1024]

    with pytest.raises(CorruptLog, match="damaged at byte 1024"):
        run(disk)


def test_a_record_that_was_moved_back_is_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    seen = disk.names[path_of(2)].seen
    seen[1536:2048], seen[1024:1536] = seen[1024:1536], bytes(512)

    with pytest.raises(CorruptLog, match="damaged at byte 1024"):
        run(disk)


def test_what_was_cut_counts_for_nothing_even_if_it_can_be_read_again(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    member.write(make_write(2))
    seen = disk.names[path_of(2)].seen
    readable = bytes(seen)
    seen[1024 + 60] ^= 1
    run(disk)
    seen[:] = readable

    assert indexes(run(disk)[1]) == [1]


def test_a_segment_of_another_history_is_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    other = disk.copy()
    for history in (disk, other):
        run(history)[0].write(make_write(1))
        run(history)
    disk.names[path_of(3)] = other.names[path_of(3)]

    with pytest.raises(CorruptLog, match="it is not the segment that the next one follows"):
        run(disk)


def test_records_of_another_segment_are_no_records(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    run(disk)
    disk.names[path_of(3)].seen[512:1024] = disk.names[path_of(2)].seen[512:1024]

    _, recovered = run(disk)

    assert indexes(recovered) == [1]
    assert recovered.torn_bytes > 0


def test_a_missing_segment_is_refused(disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite) -> None:
    member.write(make_write(1))
    run(disk)[0].write(make_write(2))
    run(disk)
    disk.remove(path_of(3))

    with pytest.raises(CorruptLog, match="entries 1 to 2 are neither in its log nor in a snapshot"):
        run(disk)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 3), (3, 4)])
def test_swapped_segments_are_refused(
    *, disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite, first: int, second: int
) -> None:
    member.write(make_write(1))
    run(disk)[0].write(make_write(2))
    run(disk)
    names = disk.names
    names[path_of(first)], names[path_of(second)] = names[path_of(second)], names[path_of(first)]

    with pytest.raises(CorruptLog, match="under another's name"):
        run(disk)


def test_an_older_copy_of_a_segment_is_refused(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    older = bytes(disk.names[path_of(2)].seen)
    member.write(make_write(2))
    run(disk)
    disk.names[path_of(2)].seen[:] = older

    with pytest.raises(CorruptLog, match="damaged at byte 1024: the file ends before its last record"):
        run(disk)


def test_another_members_segment_is_refused_even_under_the_same_keys(
    disk: MemoryDisk, member: MemberStorage, run: Run, keys: KeyRing, entropy: SeededEntropy
) -> None:
    MemberStorage.create(
        disk, "other", keys, entropy, member_id=2, cluster="c", incarnation=1, segment_bytes=SEGMENT_BYTES
    ).close()
    disk.names[path_of(1)] = disk.names[f"other/log/{segment_name(1)}"]

    with pytest.raises(CorruptLog, match="another member's log"):
        run(disk)


def test_a_newer_format_is_left_alone(disk: MemoryDisk, member: MemberStorage, run: Run) -> None:
    seen = disk.names[path_of(2)].seen
    seen[8:10] = (9).to_bytes(2, "big")
    seen[492:496] = zlib.crc32(seen[:492]).to_bytes(4, "big")

    with pytest.raises(ForeignState, match="has log format 9; this version of raftswarm reads 1: run a newer one"):
        run(disk)


def test_an_empty_segment_file_is_refused(disk: MemoryDisk, member: MemberStorage, run: Run) -> None:
    disk.names[path_of(2)].seen.clear()

    with pytest.raises(CorruptLog, match="the header of the segment is not there"):
        run(disk)


def test_whatever_is_in_the_files_the_error_is_a_typed_one(
    disk: MemoryDisk, member: MemberStorage, run: Run, make_write: MakeWrite
) -> None:
    member.write(make_write(1))
    for size in [0, 1, 8, 511, 512, 513, 600, 1024]:
        for filling in [b"\0", b"\xff", b"RSWMLOG\n", b"RSWR"]:
            damaged = disk.copy()
            damaged.names[path_of(1)].seen[:] = (filling * 1024)[:size]
            with pytest.raises(StorageError):
                run(damaged)
