"""A member finds at its start what it wrote (Figure 2, persistent state; section 7, snapshots)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog, ForeignState, InvalidKey, InvalidSpec
from raftswarm.raft.log_entry import Configuration, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.segment import segment_number
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
LOG = f"{RAFT}/log"

MakeWrite = Callable[..., Write]
Reopen = Callable[[], tuple[MemberStorage, Recovered]]


def count_segments(disk: MemoryDisk) -> int:
    return sum(segment_number(name) is not None for name in disk.list(LOG))


@pytest.fixture
def storage(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> MemberStorage:
    """A member that was just created."""
    return MemberStorage.create(
        disk, RAFT, keys, entropy, member_id=2**62 + 1, cluster="cluster-1", incarnation=3, segment_bytes=4096
    )


@pytest.fixture
def reopen(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, storage: MemberStorage) -> Reopen:
    """Open what is on the disk, as the next start would."""

    def reopen() -> tuple[MemberStorage, Recovered]:
        return MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=4096)

    return reopen


def indexes(recovered: Recovered) -> list[int]:
    return [entry.index for entry in recovered.entries]


def test_a_new_member_is_found_empty(reopen: Reopen) -> None:
    _, recovered = reopen()

    assert recovered == Recovered(
        member_id=2**62 + 1,
        cluster="cluster-1",
        incarnation=3,
        boot=1,
        hard_state=HardState(),
        snapshot=SnapshotMeta(),
        entries=(),
    )


def test_every_start_counts(reopen: Reopen) -> None:
    assert [reopen()[1].boot for _ in range(4)] == [1, 2, 3, 4]


def test_the_last_term_and_vote_are_found(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(hard_state=HardState(term=4, voted_for=9)))
    storage.write(make_write(hard_state=HardState(term=5)))
    storage.write(make_write(1, term=5))

    assert reopen()[1].hard_state == HardState(term=5)


def test_entries_are_found_as_they_were_written(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    first, second = make_write(1, 2), make_write(3, term=2)
    storage.write(first)
    storage.write(second)

    assert reopen()[1].entries == (*first.entries, *second.entries)


def test_a_log_of_many_segments_is_one_log(reopen: Reopen, make_write: MakeWrite, disk: MemoryDisk) -> None:
    storage, _ = reopen()
    for index in range(1, 41):
        storage.write(make_write(index))

    assert count_segments(disk) > 6
    assert indexes(reopen()[1]) == list(range(1, 41))


def test_an_entry_bigger_than_a_segment_gets_one_of_its_size(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(*range(1, 300)))
    storage.write(make_write(300))

    assert indexes(reopen()[1]) == list(range(1, 301))


def test_conflicting_entries_are_replaced(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2, 3, 4))
    storage.write(make_write(3, term=2, truncate_after=2))
    storage.write(make_write(4, 5, term=2))

    entries = reopen()[1].entries

    assert [(entry.index, entry.term) for entry in entries] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2)]


def test_conflicting_entries_stay_away_when_nothing_takes_their_place(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2, 3))
    storage.write(make_write(truncate_after=1))

    assert indexes(reopen()[1]) == [1]
    assert indexes(reopen()[1]) == [1]


def test_our_own_snapshot_is_found_beside_the_entries_kept_for_slow_followers(
    reopen: Reopen, make_write: MakeWrite
) -> None:
    storage, _ = reopen()
    configuration = Configuration(voters=(MemberInfo(id=1, address="127.0.0.1:2377", name="n1"),))
    snapshot = SnapshotMeta(index=2, term=1, commands=7, time_ns=11, configuration=configuration)
    storage.write(make_write(1, 2, 3))

    storage.save_snapshot(snapshot, iter([b"the ", b"state"]))
    storage, recovered = reopen()
    found = storage.read_snapshot()

    assert recovered.snapshot == snapshot
    assert indexes(recovered) == [1, 2, 3]
    assert found is not None
    assert (found[0], list(found[1])) == (snapshot, [b"the ", b"state"])


def test_a_cluster_begins_with_a_snapshot_of_index_0_that_lists_its_voters(reopen: Reopen) -> None:
    storage, _ = reopen()
    start = SnapshotMeta(configuration=Configuration(voters=(MemberInfo(id=1),)))

    storage.save_snapshot(start, [])

    assert reopen()[1].snapshot == start


def test_there_is_no_snapshot_at_first(storage: MemberStorage) -> None:
    assert storage.read_snapshot() is None


def test_a_snapshot_that_is_being_read_may_be_replaced(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2))
    storage.save_snapshot(SnapshotMeta(index=1, term=1), [b"1a", b"1b"])
    found = storage.read_snapshot()

    storage.save_snapshot(SnapshotMeta(index=2, term=1), [b"2"])

    assert found is not None
    assert list(found[1]) == [b"1a", b"1b"]


def test_a_received_snapshot_is_nothing_until_it_is_installed(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(1))

    receive(storage, SnapshotMeta(index=50, term=2), [b"leader's"])
    storage, recovered = reopen()

    assert recovered.snapshot == SnapshotMeta()
    assert indexes(recovered) == [1]
    assert storage.read_snapshot() is None


def test_an_installed_snapshot_takes_the_place_of_the_log(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(*range(1, 60), hard_state=HardState(term=1, voted_for=3)))
    snapshot = SnapshotMeta(index=50, term=2)
    receive(storage, snapshot, [b"leader's"])

    storage.install(snapshot)
    storage.write(make_write(51, term=2))
    storage, recovered = reopen()
    found = storage.read_snapshot()

    assert (recovered.snapshot, indexes(recovered)) == (snapshot, [51])
    assert recovered.hard_state == HardState(term=1, voted_for=3)
    assert found is not None
    assert list(found[1]) == [b"leader's"]


def test_a_snapshot_received_again_after_its_installation_changes_nothing(reopen: Reopen) -> None:
    storage, _ = reopen()
    snapshot = SnapshotMeta(index=50, term=2)
    receive(storage, snapshot, [b"leader's"])
    receive(storage, snapshot, [b"leader's"])
    storage.install(snapshot)
    receive(storage, snapshot, [b"leader's"])

    assert reopen()[1].snapshot == snapshot


def test_a_received_snapshot_may_still_be_installed_after_an_older_one_of_ours_was_saved(
    reopen: Reopen, make_write: MakeWrite
) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2))
    snapshot = SnapshotMeta(index=50, term=2)
    receive(storage, snapshot, [b"leader's"])
    storage.save_snapshot(SnapshotMeta(index=1, term=1), [b"ours"])

    storage.install(snapshot)

    assert reopen()[1].snapshot == snapshot


def test_another_snapshot_in_the_place_of_the_installed_one_is_refused(reopen: Reopen, disk: MemoryDisk) -> None:
    storage, _ = reopen()
    snapshot = SnapshotMeta(index=50, term=2)
    path = f"{RAFT}/snapshots/{50:020d}.received"
    receive(storage, snapshot, [b"another"])
    other = bytes(disk.names[path].seen)
    receive(storage, snapshot, [b"leader's"])
    storage.install(snapshot)
    disk.names[path].seen[:] = other

    with pytest.raises(CorruptLog, match="entries 1 to 50 are neither in its log nor in a snapshot"):
        reopen()


def test_a_snapshot_that_contradicts_the_log_is_refused(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2))
    storage.save_snapshot(SnapshotMeta(index=1, term=5), [])

    with pytest.raises(CorruptLog, match="its log and the snapshot of index 1 contradict each other"):
        reopen()


def test_an_installed_snapshot_outlives_compaction_and_starts(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    snapshot = SnapshotMeta(index=50, term=2)
    receive(storage, snapshot, [b"leader's"])
    storage.install(snapshot)
    storage, _ = reopen()
    storage.write(make_write(51, term=2))

    storage.compact(51)

    assert reopen()[1].snapshot == snapshot


def test_compaction_removes_segments_and_keeps_what_it_was_told_to(
    reopen: Reopen, make_write: MakeWrite, disk: MemoryDisk
) -> None:
    storage, _ = reopen()
    storage.write(make_write(hard_state=HardState(term=1, voted_for=3)))
    for index in range(1, 41):
        storage.write(make_write(index))
    storage.save_snapshot(SnapshotMeta(index=35, term=1), [])
    before = count_segments(disk)

    storage.compact(30)
    recovered = reopen()[1]

    assert count_segments(disk) < before / 2
    assert recovered.entries[0].index <= 30
    assert recovered.entries[-1].index == 40
    assert recovered.hard_state == HardState(term=1, voted_for=3)


def test_compaction_never_removes_what_no_snapshot_covers(reopen: Reopen, make_write: MakeWrite) -> None:
    storage, _ = reopen()
    for index in range(1, 41):
        storage.write(make_write(index))

    storage.compact(41)

    assert indexes(reopen()[1]) == list(range(1, 41))


def test_many_starts_cost_a_sector_each(reopen: Reopen, disk: MemoryDisk) -> None:
    for _ in range(20):
        reopen()[0].close()

    assert sum(len(content) for name, content in disk.image().items() if name.startswith(LOG)) <= 21 * 512 + 4096


def test_close_may_be_called_twice(storage: MemberStorage) -> None:
    storage.close()
    storage.close()


def test_a_second_member_is_not_created_over_the_first(
    storage: MemberStorage, disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy
) -> None:
    with pytest.raises(ForeignState, match="already holds a member's state"):
        MemberStorage.create(disk, RAFT, keys, entropy, member_id=1, cluster="other", incarnation=1)


def test_a_directory_without_a_member_is_refused(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    with pytest.raises(ForeignState, match="nowhere/log holds no log"):
        MemberStorage.open(disk, "nowhere", keys, entropy)


def test_a_cluster_id_that_does_not_fit_is_refused(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    with pytest.raises(InvalidSpec, match="1 to 128 bytes, not 129"):
        MemberStorage.create(disk, RAFT, keys, entropy, member_id=1, cluster="c" * 129, incarnation=1)


def test_another_nodes_keys_do_not_open_it(storage: MemberStorage, disk: MemoryDisk, entropy: SeededEntropy) -> None:
    storage.close()
    other = KeyRing.create(disk, "other", entropy)

    with pytest.raises(InvalidKey, match="another node's key"):
        MemberStorage.open(disk, RAFT, other, entropy)


def test_nothing_that_was_proposed_is_on_the_disk_in_the_clear(
    reopen: Reopen, make_write: MakeWrite, disk: MemoryDisk
) -> None:
    storage, _ = reopen()
    snapshot = SnapshotMeta(index=9, term=1, configuration=Configuration(voters=(MemberInfo(id=1, name="MARKER"),)))
    storage.write(make_write(1))
    receive(storage, snapshot, [b"MARKER" * 10])
    storage.install(snapshot)
    storage.close()

    everything = b"".join(disk.image().values())

    assert b"MARKER" not in everything
    assert b"entry 1" not in everything


def test_the_same_write_never_looks_the_same(storage: MemberStorage, make_write: MakeWrite, disk: MemoryDisk) -> None:
    storage.write(make_write(1))
    storage.write(make_write(truncate_after=0))
    storage.write(make_write(1))

    segments = [content for name, content in disk.image().items() if name.startswith(LOG)]
    sectors = [segment[start + 52 : start + 512] for segment in segments for start in range(512, len(segment), 512)]
    written = [sector for sector in sectors if any(sector)]
    assert len(written) == len(set(written)) == 3


def test_an_older_copy_of_the_log_under_a_newer_snapshot_is_refused(
    reopen: Reopen, make_write: MakeWrite, disk: MemoryDisk
) -> None:
    storage, _ = reopen()
    storage.write(make_write(1, 2))
    older = {name: node for name, node in disk.copy().names.items() if name.startswith(LOG)}
    storage.write(make_write(hard_state=HardState(term=2, voted_for=1)))
    storage.save_snapshot(SnapshotMeta(index=1, term=1), [])

    disk.names = {name: node for name, node in disk.names.items() if not name.startswith(LOG)} | older

    with pytest.raises(CorruptLog, match=f"{RAFT} is incomplete: its log ends before what the snapshot of index 1"):
        reopen()


def test_a_lost_snapshot_is_refused_when_the_log_begins_behind_it(
    reopen: Reopen, make_write: MakeWrite, disk: MemoryDisk
) -> None:
    storage, _ = reopen()
    for index in range(1, 41):
        storage.write(make_write(index))
    storage.save_snapshot(SnapshotMeta(index=40, term=1), [])
    storage.compact(41)
    disk.remove(f"{RAFT}/snapshots/{40:020d}.saved")

    with pytest.raises(CorruptLog, match=r"entries 1 to \d+ are neither in its log nor in a snapshot; take this"):
        reopen()
