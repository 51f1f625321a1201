"""A full disk: what was written stands, what was refused comes again in its place, and no nonce is used twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import DiskFailed, DiskFull
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.sealing import Seal
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
MakeWrite = Callable[..., Write]
Open = Callable[["MemoryDisk"], tuple[MemberStorage, Recovered]]


@pytest.fixture
def open_on(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> Open:
    """Start the member that lives on such a disk."""
    MemberStorage.create(disk, RAFT, keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=4096).close()
    return lambda disk: MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=4096)


def found(opened: tuple[MemberStorage, Recovered]) -> tuple[int, int]:
    """Return what a start found: last index, and index of the snapshot."""
    _, recovered = opened
    entries, snapshot = recovered.entries, recovered.snapshot
    return entries[-1].index if entries else snapshot.index, snapshot.index


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[Seal, int], bytes]:
    """What was sealed under each key and counter; two different things under one would fail."""
    known: dict[tuple[Seal, int], bytes] = {}
    close = Seal.close

    def recorded(self: Seal, counter: int, plain: bytes, authenticated: bytes) -> bytes:
        whole = authenticated + plain
        assert known.setdefault((self, counter), whole) == whole, "a nonce was used twice"
        return close(self, counter, plain, authenticated)

    monkeypatch.setattr(Seal, "close", recorded)
    return known


def test_whichever_call_finds_no_room_what_was_refused_is_written_when_it_comes_again(
    disk: MemoryDisk, open_on: Open, make_write: MakeWrite, sealed: dict[tuple[Seal, int], bytes]
) -> None:
    received = SnapshotMeta(index=40, term=2, commands=40)
    writes = [
        make_write(1, 2, hard_state=HardState(term=1, voted_for=1)),
        make_write(2, 3, term=2, truncate_after=1),
        make_write(*range(4, 60), term=2),
        make_write(60, term=2),
    ]
    shorter, behind = make_write(truncate_after=35, term=2), make_write(41, term=2)

    def install(storage: MemberStorage) -> None:
        receive(storage, received, [b"leader's"])
        storage.install(received)

    life: list[Callable[[MemberStorage], object]] = [
        lambda storage: storage.write(writes[0]),
        lambda storage: storage.write(writes[1]),
        lambda storage: storage.write(writes[2]),
        lambda storage: storage.write(writes[3]),
        lambda storage: storage.mark(),
        lambda storage: storage.save_snapshot(SnapshotMeta(index=30, term=2), [b"ours"]),
        lambda storage: storage.compact(31),
        lambda storage: storage.write(shorter),
        install,
        lambda storage: storage.write(behind),
    ]
    refused = call = 0
    finals: list[str] = []
    while True:
        call += 1
        copy = disk.copy()
        storage, _ = open_on(copy)

        copy.fail_at = copy.calls + call
        try:
            for act in life:
                try:
                    act(storage)
                except DiskFull:
                    refused += 1
                    act(storage)
        except DiskFailed as failure:
            finals.append(str(failure))
            continue
        if copy.calls < copy.fail_at:
            break
        storage.close()
        assert found(open_on(copy.after_crash(lambda _: False))) == (41, 40), f"without room at call {call}"

    assert refused > 20
    assert len(finals) > 8
    assert all("make room on that disk, then restart this member" in final for final in finals), "only a sync is final"
    assert sealed


def test_nothing_overtakes_a_write_that_waits_for_room(disk: MemoryDisk, open_on: Open, make_write: MakeWrite) -> None:
    storage, _ = open_on(disk)
    first, second = make_write(1), make_write(2)
    disk.fail_at = disk.calls + 1

    with pytest.raises(DiskFull, match="could not write to the log: No space left on device: make room on that disk"):
        storage.write(first)
    with pytest.raises(DiskFull, match="an earlier write to the log waits for room"):
        storage.write(second)
    storage.write(first)
    storage.write(second)

    assert found(open_on(disk)) == (2, 0)


def test_no_snapshot_overtakes_what_it_covers(disk: MemoryDisk, open_on: Open, make_write: MakeWrite) -> None:
    """Others may have committed it, and this member applied it, before there is room for it here."""
    storage, _ = open_on(disk)
    storage.write(make_write(1))
    waiting = make_write(2)
    disk.fail_at = disk.calls + 1
    with pytest.raises(DiskFull):
        storage.write(waiting)

    with pytest.raises(DiskFull, match="what the snapshot covers waits for room"):
        storage.save_snapshot(SnapshotMeta(index=2, term=1, commands=2), [b"state"])
    storage.write(waiting)

    assert found(open_on(disk)) == (2, 0)


def test_what_was_refused_is_not_there_after_a_crash(disk: MemoryDisk, open_on: Open, make_write: MakeWrite) -> None:
    storage, _ = open_on(disk)
    storage.write(make_write(1))
    disk.fail_at = disk.calls + 1  # The bytes are there, as far as the disk had room; nobody was told so.
    with pytest.raises(DiskFull):
        storage.write(make_write(2))
    storage.close()

    assert found(open_on(disk.after_crash(lambda _: False))) == (1, 0)


def test_a_mark_is_left_out_on_a_full_disk(disk: MemoryDisk, open_on: Open, make_write: MakeWrite) -> None:
    storage, _ = open_on(disk)
    storage.write(make_write(1))
    disk.fail_at = disk.calls + 1

    storage.mark()
    storage.write(make_write(2))

    assert found(open_on(disk)) == (2, 0)


def test_a_member_does_not_start_on_a_full_disk_and_does_when_there_is_room(
    disk: MemoryDisk, open_on: Open, make_write: MakeWrite
) -> None:
    storage, _ = open_on(disk)
    storage.write(make_write(1))
    storage.close()
    call, refusals = 0, list[str]()
    while True:
        call += 1
        copy = disk.copy()
        copy.fail_at = copy.calls + call
        try:
            open_on(copy)
        except DiskFailed as refusal:
            refusals.append(str(refusal))
        else:
            break
        assert found(open_on(copy)) == (1, 0)
    assert len(refusals) > 5
    assert all("No space left on device: make room on that disk" in refusal for refusal in refusals)


def test_a_broken_disk_is_no_full_one(disk: MemoryDisk, open_on: Open, make_write: MakeWrite) -> None:
    storage, _ = open_on(disk)
    disk.failure = OSError(5, "Input/output error")
    disk.fail_at = disk.calls + 1

    with pytest.raises(DiskFailed, match="Input/output error"):
        storage.write(make_write(1))
    with pytest.raises(DiskFailed, match="the disk failed before"):
        storage.write(make_write(1))


def test_spare_files_of_another_key_are_removed_at_a_start_and_all_of_them_when_asked(
    disk: MemoryDisk, open_on: Open, make_write: MakeWrite
) -> None:
    def spares() -> list[str]:
        return [name for name in disk.list(f"{RAFT}/log") if name.endswith(".spare")]

    storage, _ = open_on(disk)
    for index in range(1, 60):
        storage.write(make_write(index))
    storage.save_snapshot(SnapshotMeta(index=59, term=1), [b"state"])
    storage.compact(60)
    storage.close()
    before = len(spares())
    assert before > 2
    disk.names[f"{RAFT}/log/{spares()[0]}"].seen[136:144] = b"retired!"  # The key id that its header names.

    storage, _ = open_on(disk)
    assert len(spares()) == before - 2, "one was of another key, and in one the log goes on"
    assert not any(b"retired!" in content for content in disk.image().values())
    for index in range(60, 90):
        storage.write(make_write(index))

    assert found(open_on(disk)) == (89, 59)
