"""A later epoch begins in one step (docs/formats.md): after a crash a member is in the old one, untouched, or in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import CorruptLog
from raftswarm.raft.log_entry import EntryKind, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.epoch import next_epoch, show_epoch
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
EPOCH = 1 << 32 | 7
MakeWrite = Callable[..., Write]


def create(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, **more: object) -> MemberStorage:
    return MemberStorage.create(
        disk,
        RAFT,
        keys,
        entropy,
        member_id=1,
        cluster="c",
        incarnation=1,
        segment_bytes=2048,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def written(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, make_write: MakeWrite) -> MemoryDisk:
    """A member with three entries in epoch 0."""
    create(disk, keys, entropy).close()
    storage, _ = MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=2048)
    storage.write(make_write(1, 2, 3, hard_state=HardState(term=1, voted_for=1)))
    storage.close()
    return disk


@pytest.fixture
def begin(make_write: MakeWrite) -> Callable[[Recovered], tuple[int, Write]]:
    def plan(found: Recovered) -> tuple[int, Write]:
        return EPOCH, make_write(found.entries[-1].index + 1, term=2, hard_state=HardState(term=2))

    return plan


def test_epochs_grow_and_two_of_the_same_count_differ(entropy: SeededEntropy) -> None:
    first, other = next_epoch(0, entropy), next_epoch(0, entropy)

    assert first != other
    assert next_epoch(max(first, other), entropy) > max(first, other)
    assert next_epoch(min(first, other), entropy) > max(first, other)
    assert show_epoch(0) == "0"
    assert show_epoch(EPOCH) == "1-00000007"


def test_a_new_epoch_goes_on_from_what_is_there(
    written: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, begin: Callable[[Recovered], tuple[int, Write]]
) -> None:
    MemberStorage.begin_epoch(written, RAFT, keys, entropy, begin=begin, segment_bytes=2048)

    storage, found = MemberStorage.open(written, RAFT, keys, entropy, segment_bytes=2048)
    assert found.epoch == EPOCH
    assert [(entry.index, entry.term) for entry in found.entries] == [(1, 1), (2, 1), (3, 1), (4, 2)]
    assert found.hard_state == HardState(term=2)
    storage.save_snapshot(SnapshotMeta(index=4, term=2, commands=4), [b"state"])
    storage.close()
    assert MemberStorage.survey(written, RAFT, keys, entropy).epoch == EPOCH
    assert EPOCH.to_bytes(6, "big") in written.image()[f"{RAFT}/snapshots/{4:020d}.saved"][:16]


def test_a_crash_at_any_step_leaves_the_old_epoch_or_the_new_one_with_its_first_write(
    written: MemoryDisk,
    keys: KeyRing,
    entropy: SeededEntropy,
    crash: type[BaseException],
    begin: Callable[[Recovered], tuple[int, Write]],
) -> None:
    seen: set[int] = set()
    for call in range(1, 40):
        for keep in (True, False):
            disk = written.copy()
            disk.crash_at = disk.calls + call
            try:
                MemberStorage.begin_epoch(disk, RAFT, keys, entropy, begin=begin, segment_bytes=2048)
            except crash:
                found = MemberStorage.open(disk.after_crash(lambda _, keep=keep: keep), RAFT, keys, entropy)[1]  # type: ignore[misc]
                expected = (EPOCH, 4, 2) if found.epoch else (0, 3, 1)
                assert (found.epoch, found.entries[-1].index, found.hard_state.term) == expected
                seen.add(found.epoch)
            else:
                assert seen == {0, EPOCH}
                return
    pytest.fail("it never got to the end")


def test_to_survey_a_member_changes_nothing(written: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    before = written.image()

    found = MemberStorage.survey(written, RAFT, keys, entropy)

    assert written.image() == before
    assert (found.boot, found.entries[-1].index) == (1, 3)


def test_a_member_can_begin_with_a_state_and_a_write(
    disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, make_write: MakeWrite
) -> None:
    state = SnapshotMeta(index=10, term=3, commands=10)
    first = make_write(11, term=4, hard_state=HardState(term=4))

    create(disk, keys, entropy, epoch=EPOCH, state=(state, [b"all", b" of it"]), first=first).close()

    storage, found = MemberStorage.open(disk, RAFT, keys, entropy)
    newest = storage.read_snapshot()
    assert newest is not None
    assert (newest[0], b"".join(newest[1])) == (state, b"all of it")
    assert (found.epoch, found.hard_state, found.entries) == (EPOCH, HardState(term=4), first.entries)
    assert found.entries[0].kind is EntryKind.COMMANDS


def test_a_log_cannot_go_back_to_an_earlier_epoch(
    written: MemoryDisk, keys: KeyRing, entropy: SeededEntropy, begin: Callable[[Recovered], tuple[int, Write]]
) -> None:
    """Segments of two lives, mixed by a hand that puts back files."""
    earlier = written.copy()
    MemberStorage.begin_epoch(written, RAFT, keys, entropy, begin=begin)
    storage, _ = MemberStorage.open(written, RAFT, keys, entropy)
    storage.save_snapshot(SnapshotMeta(index=4, term=2, commands=4), [b"state"])
    storage.close()
    name = f"{RAFT}/snapshots/{4:020d}.saved"
    earlier.names[name] = written.names[name]

    with pytest.raises(CorruptLog):
        MemberStorage.open(earlier, RAFT, keys, entropy)
