"""An inspection says what a start would find, and changes nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.inspection import inspect_state
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.replay import WAY_BACK
from raftswarm.storage.reports import StateReport, TermReport, Verdict
from raftswarm.storage.sealing import key_id
from raftswarm.storage.segment import segment_name

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
MakeWrite = Callable[..., Write]
Inspect = Callable[["MemoryDisk"], StateReport]


def path_of(number: int) -> str:
    return f"{RAFT}/log/{segment_name(number)}"


@pytest.fixture
def member(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, make_write: MakeWrite) -> MemberStorage:
    """A member that has written to segments 2 and 3, and saved a snapshot."""
    MemberStorage.create(disk, RAFT, keys, entropy, member_id=7, cluster="c", incarnation=1, segment_bytes=4096).close()
    storage, _ = MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=4096)
    storage.write(make_write(1, 2, hard_state=HardState(term=1, voted_for=7)))
    storage.write(make_write(3, term=2, hard_state=HardState(term=2)))
    storage.save_snapshot(SnapshotMeta(index=2, term=1, commands=2), [b"state", b"more"])
    storage.write(make_write(3, 4, term=3, truncate_after=2, hard_state=HardState(term=3)))
    return storage


@pytest.fixture
def inspect(keys: KeyRing, entropy: SeededEntropy, member: MemberStorage) -> Inspect:
    """Inspect a disk, and see that nothing on it has changed."""
    del member

    def inspect(disk: MemoryDisk) -> StateReport:
        before = disk.image()
        report = inspect_state(disk, "state", keys, entropy)
        assert disk.image() == before
        return report

    return inspect


def test_a_sound_log_is_told_segment_by_segment(
    disk: MemoryDisk, inspect: Inspect, member: MemberStorage, keys: KeyRing
) -> None:
    member.close()

    report = inspect(disk)

    [found] = report.members
    assert (report.verdict, report.is_locked, report.data_key) == (Verdict.SOUND, False, key_id(keys.data_key).hex())
    assert (found.directory, found.cluster, found.member_id, found.incarnation, found.boot) == (RAFT, "c", 7, 1, 1)
    assert (found.term, found.voted_for, found.snapshot_index) == (3, 0, 2)
    assert (found.first_index, found.last_index, found.last_command) == (1, 4, 4)
    assert found.terms == [
        TermReport(term=1, first_index=1, last_index=2, commands=2),
        TermReport(term=3, first_index=3, last_index=4, commands=2),
    ]
    told = [
        (one.state, one.boot, one.term, one.voted_for, one.first_index, one.records, one.marks, one.entries)
        for one in found.segments
    ]
    assert told == [
        ("finished", 0, 0, 0, 1, 0, 0, 0),
        ("finished", 1, 0, 0, 1, 2, 0, 3),
        ("newest", 1, 2, 0, 4, 2, 1, 2),
    ]
    assert [one.follows for one in found.segments] == [
        "nothing",
        f"record 0 of {segment_name(1)}",
        f"record 2 of {segment_name(2)}",
    ]
    [snapshot] = found.snapshots
    assert (snapshot.state, snapshot.index, snapshot.term, snapshot.commands, snapshot.chunks) == ("newest", 2, 1, 2, 2)
    assert found.keys == [report.data_key]
    assert not found.findings


def test_a_torn_end_is_told_and_is_no_damage(disk: MemoryDisk, inspect: Inspect) -> None:
    disk.names[path_of(3)].seen[512 + 60] ^= 1

    report = inspect(disk)

    [finding] = report.members[0].findings
    assert report.verdict is Verdict.TORN
    assert str(finding).startswith(f"torn: {path_of(3)} at byte 512: ")
    assert "the next start cuts it" in str(finding)
    assert report.members[0].last_index == 3


def test_damage_is_told_with_file_place_and_the_way_back_as_a_start_would(
    disk: MemoryDisk, inspect: Inspect, keys: KeyRing, entropy: SeededEntropy
) -> None:
    disk.names[path_of(2)].seen[512 + 60] ^= 1

    report = inspect(disk)

    with pytest.raises(CorruptLog) as refused:
        MemberStorage.open(disk, RAFT, keys, entropy)
    [finding] = report.members[0].findings
    assert report.verdict is Verdict.DAMAGED
    assert (finding.path, finding.offset, finding.way_back) == (path_of(2), 512, WAY_BACK)
    assert str(refused.value) == f"{finding.path} is damaged at byte {finding.offset}: {finding.reason}; {WAY_BACK}"
    assert report.members[0].member_id == 0, "what only a whole log can tell is not told"
    assert [one.records for one in report.members[0].segments] == [0, 0, 1]


def test_every_damaged_segment_is_told(disk: MemoryDisk, inspect: Inspect) -> None:
    disk.names[path_of(1)].seen[20] ^= 1
    disk.names[path_of(2)].seen[1024 + 60] ^= 1

    [found] = inspect(disk).members

    assert [(finding.path, finding.offset) for finding in found.findings] == [(path_of(1), 0), (path_of(2), 1024)]


def test_a_damaged_snapshot_is_told_if_it_counts(disk: MemoryDisk, inspect: Inspect) -> None:
    path = f"{RAFT}/snapshots/{2:020d}.saved"
    disk.names[path].seen[-3] ^= 1

    [found] = inspect(disk).members

    assert found.verdict is Verdict.DAMAGED
    assert found.findings[0].path == path
    assert "is damaged at byte" in found.snapshots[0].state


def test_segments_that_count_for_nothing_do_not_matter(
    disk: MemoryDisk, inspect: Inspect, member: MemberStorage, make_write: MakeWrite
) -> None:
    damaged = bytearray(disk.image()[path_of(1)])
    damaged[20] ^= 1
    for index in range(5, 30):
        member.write(make_write(index, term=3))
    member.save_snapshot(SnapshotMeta(index=29, term=3, commands=29), [b"state"])
    member.compact(30)
    disk.open(path_of(1), create=True).write(0, [damaged])

    [found] = inspect(disk).members

    assert found.verdict is Verdict.SOUND
    assert "checksum" in found.segments[0].state
    assert found.spares


def test_snapshots_without_a_log_are_damage(disk: MemoryDisk, inspect: Inspect) -> None:
    for number in (1, 2, 3):
        disk.remove(path_of(number))

    [finding] = inspect(disk).members[0].findings

    assert str(finding) == f"damaged: {RAFT}: there are snapshots, and no log; {WAY_BACK}"


def test_a_node_without_a_member_is_sound(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    report = inspect_state(disk, "state", keys, entropy)

    assert (report.verdict, list(report.members)) == (Verdict.SOUND, [])


def test_a_log_of_a_newer_version_or_of_another_key_is_not_judged(
    disk: MemoryDisk, inspect: Inspect, entropy: SeededEntropy, member: MemberStorage
) -> None:
    member.close()
    other = KeyRing.create(disk, "other", entropy)

    with pytest.raises(InvalidKey):
        inspect_state(disk, "state", other, entropy)

    header = disk.names[path_of(3)].seen
    header[8:10] = b"\0\x09"
    header[492:496] = zlib.crc32(header[:492]).to_bytes(4, "big")
    with pytest.raises(ForeignState, match="log format 9"):
        inspect(disk)
