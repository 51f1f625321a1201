"""Persistent state survives a crash at every disk call (Figure 2: updated on stable storage before responding)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest

from raftswarm.errors import DiskFailed
from raftswarm.raft.log_entry import Entry, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
SEGMENT_BYTES = 4096
OURS = SnapshotMeta(index=40, term=3, commands=40)
RECEIVED = SnapshotMeta(index=70, term=4, commands=70)
LAST = SnapshotMeta(index=72, term=4, commands=72)

MakeWrite = Callable[..., Write]
Storage = MemberStorage


@attrs.frozen
class Seen:
    """What a member would start from. Entries that the snapshot covers do not matter."""

    hard_state: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    state: bytes = b""
    entries: tuple[Entry, ...] = ()


def plan_life(make_write: MakeWrite) -> list[tuple[Callable[[Storage], object], Seen]]:
    """Return what a member does, and what it may rely on after each step."""
    voted = HardState(term=2, voted_for=7)
    following = HardState(term=3)
    first = make_write(1, 2, 3)
    second = make_write(4, term=2, hard_state=voted)
    conflicting = make_write(3, 4, 5, term=3, hard_state=following, truncate_after=2)
    bigger_than_a_segment = make_write(*range(6, 130), term=3)
    shorter = make_write(60, term=4, truncate_after=59)
    after_install = make_write(71, 72, term=4, hard_state=HardState(term=4))

    own = (*first.entries[:2], *conflicting.entries, *bigger_than_a_segment.entries)
    shortened = (*own[40:59], *shorter.entries)
    return [
        (lambda to: to.write(first), Seen(entries=first.entries)),
        (lambda to: to.write(second), Seen(voted, entries=(*first.entries, *second.entries))),
        (lambda to: to.mark(), Seen(voted, entries=(*first.entries, *second.entries))),
        (lambda to: to.write(conflicting), Seen(following, entries=own[:5])),
        (lambda to: to.write(bigger_than_a_segment), Seen(following, entries=own)),
        (lambda to: to.save_snapshot(OURS, [b"o", b"urs"]), Seen(following, OURS, b"ours", own[40:])),
        (lambda to: to.compact(38), Seen(following, OURS, b"ours", own[40:])),
        (lambda to: to.write(shorter), Seen(following, OURS, b"ours", shortened)),
        (lambda to: receive(to, RECEIVED, [b"leader's"]), Seen(following, OURS, b"ours", shortened)),
        (lambda to: to.install(RECEIVED), Seen(following, RECEIVED, b"leader's")),
        (lambda to: to.write(after_install), Seen(HardState(term=4), RECEIVED, b"leader's", after_install.entries)),
        (lambda to: to.compact(71), Seen(HardState(term=4), RECEIVED, b"leader's", after_install.entries)),
        (lambda to: to.save_snapshot(LAST, [b"last"]), Seen(HardState(term=4), LAST, b"last")),
        (lambda to: to.compact(73), Seen(HardState(term=4), LAST, b"last")),
        (lambda to: to.close(), Seen(HardState(term=4), LAST, b"last")),
    ]  # fmt: skip


def open_on(disk: MemoryDisk, entropy: SeededEntropy) -> tuple[MemberStorage, Recovered]:
    return MemberStorage.open(
        disk, RAFT, KeyRing.open(disk, "state/certificates", entropy), entropy, segment_bytes=SEGMENT_BYTES
    )


def look(storage: MemberStorage, recovered: Recovered) -> Seen:
    snapshot = storage.read_snapshot()
    entries = tuple(entry for entry in recovered.entries if entry.index > recovered.snapshot.index)
    assert [entry.index for entry in entries] == list(
        range(recovered.snapshot.index + 1, recovered.snapshot.index + 1 + len(entries))
    )
    return Seen(recovered.hard_state, recovered.snapshot, b"".join(snapshot[1]) if snapshot else b"", entries)


@pytest.fixture
def born(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> MemoryDisk:
    """The disk of a member that was created and never started."""
    MemberStorage.create(
        disk, RAFT, keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=SEGMENT_BYTES
    ).close()
    return disk.copy()


def chosen_by(seed: int) -> Callable[[object], bool]:
    chance = Random(seed)
    return lambda _: chance.random() < 0.5


Fate = Callable[["MemoryDisk", int], "MemoryDisk"]

FATES: dict[str, Fate] = {
    "all unsynced is lost": lambda disk, _: disk.after_crash(lambda _: False),
    "all unsynced is kept": lambda disk, _: disk.after_crash(lambda _: True),
    "every unsynced sector is torn": lambda disk, _: disk.after_crash(lambda _: True, tear=100),
    "some sectors and names are kept": lambda disk, call: disk.after_crash(chosen_by(call)),
    "some sectors and names are kept, and torn": lambda disk, call: disk.after_crash(chosen_by(-call), tear=300),
    "only the process died": lambda disk, _: disk.after_kill(),
}


@pytest.mark.parametrize("fate", FATES.values(), ids=FATES)
def test_after_a_crash_at_any_disk_call_what_was_acknowledged_is_there(
    born: MemoryDisk,
    entropy: SeededEntropy,
    make_write: MakeWrite,
    crash: type[BaseException],
    fate: Fate,
) -> None:
    life = plan_life(make_write)
    call = 0
    while True:
        call += 1
        disk = born.copy()
        storage, first = open_on(disk, entropy)
        before, after = Seen(), Seen()
        disk.crash_at = disk.calls + call
        try:
            for act, after in life:
                act(storage)
                before = after
        except crash:
            pass
        else:
            break

        found = fate(disk, call)
        recovered = open_on(found, entropy)

        assert look(*recovered) in {before, after}, f"crashed at disk call {call}"
        assert recovered[1].boot > first.boot
        # And what was found is there for good: the power may fail now, whatever had failed before.
        again = open_on(found.after_crash(lambda _: False), entropy)
        assert look(*again) == look(*recovered)
        assert again[1].boot > recovered[1].boot
    assert call > 80, "the life was too short to mean anything"


def test_a_crash_during_recovery_loses_nothing_either(
    born: MemoryDisk, entropy: SeededEntropy, make_write: MakeWrite, crash: type[BaseException]
) -> None:
    storage, first = open_on(born, entropy)
    life = plan_life(make_write)[:11]
    after = Seen()
    for act, after in life:  # noqa: B007 - the last is looked at
        act(storage)
    stopped = born.after_crash(lambda _: False)
    call = 0
    while True:
        call += 1
        disk = stopped.copy()
        disk.crash_at = call
        try:
            open_on(disk, entropy)
        except crash:
            pass
        else:
            break

        recovered = open_on(disk.after_crash(chosen_by(call), 200), entropy)

        assert look(*recovered) == after
        assert recovered[1].boot > first.boot
    assert call > 7


def test_a_member_that_was_being_created_can_be_created_again(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, crash: type[BaseException]
) -> None:
    def create(disk: MemoryDisk) -> None:
        MemberStorage.create(
            disk, RAFT, keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=SEGMENT_BYTES
        ).close()

    before = disk.copy()
    for call in range(1, 20):
        attempt = before.copy()
        attempt.crash_at = call
        try:
            create(attempt)
        except crash:
            pass
        else:
            return
        found = attempt.after_crash(chosen_by(call))
        if not MemberStorage.exists(found, RAFT):
            create(found)
        assert open_on(found, entropy)[1].boot == 1
    pytest.fail("it never got to the end")


def test_after_the_disk_has_failed_nothing_more_is_written(
    born: MemoryDisk, entropy: SeededEntropy, make_write: MakeWrite
) -> None:
    storage, _ = open_on(born, entropy)
    storage.write(make_write(1))
    born.fail_at = born.calls + 2  # The sync.

    with pytest.raises(DiskFailed, match="No space left on device"):
        storage.write(make_write(2))
    calls = born.calls
    with pytest.raises(DiskFailed, match="failed before"):
        storage.write(make_write(2))
    with pytest.raises(DiskFailed, match="failed before"):
        storage.save_snapshot(SnapshotMeta(index=1, term=1), [])
    storage.close()

    assert born.calls == calls
    assert [entry.index for entry in open_on(born.after_crash(lambda _: False), entropy)[1].entries] == [1]


def test_a_disk_that_fails_at_any_call_leaves_what_was_acknowledged(
    born: MemoryDisk, entropy: SeededEntropy, make_write: MakeWrite
) -> None:
    life = plan_life(make_write)
    call = 0
    while True:
        call += 1
        disk = born.copy()
        storage, _ = open_on(disk, entropy)
        before, after = Seen(), Seen()
        disk.failure = OSError(5, "Input/output error")
        disk.fail_at = disk.calls + call
        try:
            for act, after in life:
                act(storage)
                before = after
        except DiskFailed:
            storage.close()
        else:
            break

        assert look(*open_on(disk.after_crash(chosen_by(call)), entropy)) in {before, after}
