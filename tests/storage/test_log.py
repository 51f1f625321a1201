"""The log goes from segment to segment without losing its thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage import log as log_module
from raftswarm.storage.files import Place
from raftswarm.storage.log import Log
from raftswarm.storage.replay import replay
from raftswarm.storage.segment import SPARE_SUFFIX, segment_number
from tests.storage.conftest import MemoryDisk

if TYPE_CHECKING:
    from tests.storage.conftest import SeededEntropy

MakeWrite = Callable[..., Write]


@pytest.fixture
def place(disk: MemoryDisk, entropy: SeededEntropy) -> Place:
    return Place(disk, "log", b"k" * 32, entropy)


@pytest.fixture
def log(place: Place) -> Log:
    return Log.begin(place, 4096, member_id=1, cluster="c", incarnation=1)


def numbers(disk: MemoryDisk) -> list[int | None]:
    return [segment_number(name) for name in disk.list("log") if not name.endswith(SPARE_SUFFIX)]


def spares(disk: MemoryDisk) -> int:
    return sum(name.endswith(SPARE_SUFFIX) for name in disk.list("log"))


def test_writes_share_a_segment_until_it_is_full(log: Log, disk: MemoryDisk, make_write: MakeWrite) -> None:
    for index in range(1, 7):
        log.append(make_write(index))
    assert numbers(disk) == [1]

    log.append(make_write(7))

    assert numbers(disk) == [1, 2]


def test_a_truncation_begins_a_segment(log: Log, disk: MemoryDisk, make_write: MakeWrite) -> None:
    log.append(make_write(1, 2))
    log.append(make_write(2, term=2, truncate_after=1))

    assert numbers(disk) == [1, 2]
    assert log.last_index == 2


def test_a_start_begins_a_segment_and_counts(log: Log, disk: MemoryDisk, place: Place, make_write: MakeWrite) -> None:
    log.append(make_write(1))

    started = Log.resume(place, 4096, replay(disk, "log", b"k" * 32))

    assert numbers(disk) == [1, 2]
    assert (log.boot, started.boot) == (0, 1)
    assert started.last_index == 1


def test_an_installed_snapshot_leaves_one_empty_segment(log: Log, disk: MemoryDisk, make_write: MakeWrite) -> None:
    log.append(make_write(1))
    log.append(make_write(truncate_after=0))

    log.follow(SnapshotMeta(index=9, term=3), b"t" * 16)

    assert numbers(disk) == [3]
    assert log.last_index == 9


def test_segments_go_once_all_their_entries_are_old(log: Log, disk: MemoryDisk, make_write: MakeWrite) -> None:
    for index in range(1, 20):
        log.append(make_write(index))
    assert numbers(disk) == [1, 2, 3, 4]

    log.compact(first_index=6, snapshot_index=19)
    assert numbers(disk) == [1, 2, 3, 4]
    log.compact(first_index=7, snapshot_index=19)
    assert numbers(disk) == [2, 3, 4]
    log.compact(first_index=20, snapshot_index=19)
    assert numbers(disk) == [4]


def test_what_is_not_needed_any_more_is_written_over(
    log: Log, disk: MemoryDisk, place: Place, make_write: MakeWrite
) -> None:
    for index in range(1, 20):
        log.append(make_write(index))
    log.compact(first_index=20, snapshot_index=19)
    assert (numbers(disk), spares(disk)) == ([4], 3)

    for index in range(20, 40):
        log.append(make_write(index))

    assert (numbers(disk), spares(disk)) == ([4, 5, 6, 7], 0)
    found = replay(disk, "log", b"k" * 32)
    assert [entry.index for entry in found.entries] == list(range(19, 40)), "nothing of what the files held before"


def test_spares_last_over_a_start_and_are_few(
    log: Log, disk: MemoryDisk, place: Place, make_write: MakeWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "MAX_SPARE_BYTES", 2 * 4096)
    for index in range(1, 20):
        log.append(make_write(index))
    log.compact(first_index=20, snapshot_index=19)
    assert (numbers(disk), spares(disk)) == ([4], 2)

    Log.resume(place, 4096, replay(disk, "log", b"k" * 32))

    assert (numbers(disk), spares(disk)) == ([4, 5], 1)


def test_a_spare_that_a_killed_process_left_is_not_used_under_a_name_that_may_come_back(
    entropy: SeededEntropy, make_write: MakeWrite, crash: type[BaseException]
) -> None:
    """The process dies before the directory is synced, and the power fails at any call of the next start."""
    for calls in range(1, 20):
        disk = MemoryDisk()
        place = Place(disk, "log", b"k" * 32, entropy)
        log = Log.begin(place, 4096, member_id=1, cluster="c", incarnation=1)
        for index in range(1, 20):
            log.append(make_write(index))
        disk.crash_at = disk.calls + 4
        with pytest.raises(crash, match="sync_directory"):
            log.compact(first_index=20, snapshot_index=19)
        disk.after_kill()
        disk.crash_at = disk.calls + calls
        with suppress(crash):
            Log.resume(place, 4096, replay(disk, "log", b"k" * 32))

        found = replay(disk.after_crash(lambda _: False), "log", b"k" * 32)

        assert found.last_index == 19


def test_segments_know_their_entries_after_a_start_too(
    log: Log, disk: MemoryDisk, place: Place, make_write: MakeWrite
) -> None:
    for index in range(1, 20):
        log.append(make_write(index))
    started = Log.resume(place, 4096, replay(disk, "log", b"k" * 32))

    started.compact(first_index=7, snapshot_index=19)

    assert numbers(disk) == [2, 3, 4, 5]


def test_a_header_that_contradicts_the_records_before_it_is_refused(
    log: Log, disk: MemoryDisk, make_write: MakeWrite
) -> None:
    log.append(make_write(1, hard_state=HardState(term=2)))
    log._hard_state = HardState(term=1)
    log.append(make_write(truncate_after=0))

    with pytest.raises(CorruptLog, match="its header contradicts the segments before it"):
        replay(disk, "log", b"k" * 32)


def test_every_position_the_log_had_is_held_by_its_chain(log: Log, disk: MemoryDisk, make_write: MakeWrite) -> None:
    positions = [log.end]
    for index in range(1, 20):
        log.append(make_write(index))
        positions.append(log.end)
    older = replay(disk.copy(), "log", b"k" * 32)
    log.append(make_write(20))

    assert all(older.holds(position) for position in positions)
    assert not older.holds(log.end)
    assert replay(disk, "log", b"k" * 32).end == log.end
