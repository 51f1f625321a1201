"""Snapshots on disk are whole or refused (section 7; docs/formats.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog, ForeignState
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.storage.files import Place
from raftswarm.storage.replay import Position
from raftswarm.storage.segment import Follows, SegmentHeader
from raftswarm.storage.snapshot_file import CHUNK_BYTES
from raftswarm.storage.snapshots import Saving, Snapshots
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

META = SnapshotMeta(index=7, term=2)
NOTHING_INSTALLED = SegmentHeader(
    number=1,
    cluster="c",
    member_id=1,
    incarnation=1,
    boot=1,
    hard_state=HardState(),
    first_index=1,
    follows=Follows.NOTHING,
)


@pytest.fixture
def place(disk: MemoryDisk, entropy: SeededEntropy) -> Place:
    disk.make_directory("snapshots")
    return Place(disk, "snapshots", b"k" * 32, entropy)


def save(snapshots: Snapshots, meta: SnapshotMeta, chunks: Iterable[bytes]) -> None:
    saving = Saving(meta, iter(chunks))
    while not snapshots.save_slice(saving, Position()):
        pass


def read(place: Place) -> tuple[SnapshotMeta, list[bytes]] | None:
    snapshots = Snapshots(place)
    snapshots.recover(NOTHING_INSTALLED)
    snapshots.verify()
    found = snapshots.open()
    return None if found is None else (found[0].snapshot, list(found[1]))


def test_chunks_come_back_as_they_went_in(place: Place) -> None:
    save(Snapshots(place), META, [b"a", b"bc"])

    assert read(place) == (META, [b"a", b"bc"])


def test_an_empty_state_is_a_state(place: Place) -> None:
    save(Snapshots(place), META, [b""])

    assert read(place) == (META, [])


def test_long_chunks_are_cut(place: Place) -> None:
    state = bytes(range(256)) * 3000

    save(Snapshots(place), META, [state])

    found = read(place)
    assert found is not None
    assert max(map(len, found[1])) == CHUNK_BYTES
    assert b"".join(found[1]) == state


def test_no_two_snapshots_share_a_key(place: Place, disk: MemoryDisk) -> None:
    salts: set[bytes] = set()
    for _ in range(3):
        save(Snapshots(place), META, [])
        salts.add(disk.image()[f"snapshots/{7:020d}.saved"][64:96])

    assert len(salts) == 3


def test_the_newest_one_counts_and_older_ones_go(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)
    save(snapshots, META, [b"7"])
    save(snapshots, SnapshotMeta(index=11, term=2), [b"11"])
    save(snapshots, SnapshotMeta(index=9, term=2), [b"9"])

    assert len(disk.list("snapshots")) == 1
    assert read(place) == (SnapshotMeta(index=11, term=2), [b"11"])


def test_a_file_that_is_not_ours_is_left_alone(place: Place, disk: MemoryDisk) -> None:
    disk.open("snapshots/notes.txt", create=True).close()

    save(Snapshots(place), META, [b"7"])

    assert "notes.txt" in disk.list("snapshots")


def test_a_state_machine_that_fails_leaves_the_old_snapshot(place: Place) -> None:
    def chunks() -> list[bytes]:
        raise ZeroDivisionError

    snapshots = Snapshots(place)
    save(snapshots, META, [b"7"])

    with pytest.raises(ZeroDivisionError):
        save(snapshots, SnapshotMeta(index=9, term=2), (chunks() for _ in range(1)))  # type: ignore[misc] # It never yields.

    assert read(place) == (META, [b"7"])


def test_received_ones_do_not_pile_up(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)

    for index in range(1, 10):
        receive(snapshots, SnapshotMeta(index=index, term=2), [b"state"])

    assert disk.list("snapshots") == [f"{index:020d}.received" for index in (8, 9)]


def test_any_flipped_bit_and_any_cut_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"one chunk", b"and another"])
    path = f"snapshots/{7:020d}.saved"
    content = disk.image()[path]

    for offset in range(len(content)):
        for damaged in (
            content[:offset],
            content[:offset] + bytes([content[offset] ^ 1 << offset % 8]) + content[offset + 1 :],
        ):
            disk.names[path].seen[:] = damaged
            with pytest.raises((CorruptLog, ForeignState)) as refused:
                read(place)
            assert path in str(refused.value)


def test_something_behind_the_end_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    disk.names[f"snapshots/{7:020d}.saved"].seen.append(0)

    with pytest.raises(CorruptLog, match="something stands behind the last chunk"):
        read(place)


def test_a_chunk_of_another_snapshot_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    path = f"snapshots/{7:020d}.saved"
    first = bytes(disk.names[path].seen)
    save(Snapshots(place), META, [b"state"])
    second = disk.names[path].seen

    second[-26 - 21 :] = first[-26 - 21 :]

    with pytest.raises(CorruptLog, match="does not open"):
        read(place)


def test_a_snapshot_under_another_ones_name_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    disk.rename(f"snapshots/{7:020d}.saved", f"snapshots/{8:020d}.saved")

    with pytest.raises(CorruptLog, match="another snapshot than its name says"):
        read(place)
