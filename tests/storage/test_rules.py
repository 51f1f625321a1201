"""Storage names the rules by which it decides, for whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import pytest

from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.raft.rules import NamedRule
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.rules import StorageRule
from tests.storage.conftest import MemoryDisk, SeededEntropy

MakeWrite = Callable[..., Write]
SEGMENT_BYTES = 4096


@attrs.define
class Listener:
    """Opens the member's storage, and hears what that decides."""

    disk: MemoryDisk
    keys: KeyRing
    entropy: SeededEntropy
    heard: list[tuple[NamedRule, Mapping[str, object]]] = attrs.field(factory=list)

    def open(self, disk: MemoryDisk | None = None) -> MemberStorage:
        del self.heard[:]
        storage, _ = MemberStorage.open(
            disk or self.disk, "state/raft", self.keys, self.entropy, segment_bytes=SEGMENT_BYTES, named=self.hear
        )
        return storage

    def hear(self, rule: NamedRule, facts: Mapping[str, object]) -> None:
        rule.tell(**facts)
        self.heard.append((rule, facts))

    @property
    def rules(self) -> list[NamedRule]:
        return [rule for rule, _ in self.heard]


@pytest.fixture
def listener(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> Listener:
    MemberStorage.create(
        disk, "state/raft", keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=SEGMENT_BYTES
    ).close()
    return Listener(disk, keys, entropy)


def test_a_log_that_is_cut_and_one_that_is_full_say_why_they_begin_a_segment(
    listener: Listener, make_write: MakeWrite
) -> None:
    storage = listener.open()
    storage.write(make_write(1, 2))
    assert listener.rules == []

    storage.write(make_write(2, term=2, truncate_after=1))
    for index in range(3, 12):
        storage.write(make_write(index, term=2))

    assert listener.heard[0] == (StorageRule.SEGMENT_CUT, {"number": 3, "last_index": 1})
    assert StorageRule.SEGMENT_FULL in listener.rules


def test_a_tail_that_was_torn_is_told_with_its_size(listener: Listener, make_write: MakeWrite) -> None:
    storage = listener.open()
    storage.write(make_write(1))
    listener.disk.crash_at = listener.disk.calls + 1
    with pytest.raises(BaseException, match="write"):
        storage.write(make_write(2))

    listener.open(listener.disk.after_crash(lambda _: True, tear=60))

    [(_, facts)] = [told for told in listener.heard if told[0] is StorageRule.TORN_TAIL_CUT]
    assert facts["size"]


def test_a_snapshot_that_is_found_and_the_segments_that_it_replaces_are_told(
    listener: Listener, make_write: MakeWrite
) -> None:
    storage = listener.open()
    for index in range(1, 12):
        storage.write(make_write(index))
    storage.save_snapshot(SnapshotMeta(index=10, term=1, commands=10), [b"state"])
    storage.compact(11)
    storage.close()

    assert StorageRule.SEGMENTS_REMOVED in listener.rules
    listener.open()
    assert (StorageRule.SAVED_FOUND, {"index": 10}) in listener.heard


def test_a_mark_is_told_once(listener: Listener, make_write: MakeWrite) -> None:
    storage = listener.open()
    storage.write(make_write(1))

    storage.mark()
    storage.mark()

    assert listener.rules == [StorageRule.MARKED]
