"""When a snapshot is taken, and what becomes of one that the disk refuses (section 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

import attrs
import pytest

from raftswarm.consensus.compaction import LAST_RETRY_SECONDS, CompactionPolicy, SnapshotSaver
from raftswarm.errors import DiskFailed, StorageError
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.state_machine import Captured
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.snapshots import Saving

FULL = DiskFailed("could not save a snapshot: No space left on device")


@attrs.define(eq=False)
class SlowDisk(MemberStorage):
    """Takes a snapshot's chunks one slice each, or fails."""

    fails: bool = False
    slices: list[bytes] = attrs.field(factory=list)

    def save_slice(self, saving: Saving) -> bool:
        if self.fails:
            raise FULL
        piece = next(saving.chunks, None)
        if piece is not None:
            self.slices.append(piece)
        return piece is None


@attrs.frozen
class Pieces:
    count: int

    def chunks(self) -> Iterator[bytes]:
        yield from (b"%d" % number for number in range(self.count))


@attrs.define(eq=False)
class Bench:
    """A saver, and the jobs that it submitted."""

    policy: CompactionPolicy = CompactionPolicy(snapshot_every_commands=100, snapshot_every_bytes=1000)
    disk: SlowDisk = attrs.field(factory=SlowDisk)
    saved: list[SnapshotMeta] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    jobs: list[Callable[[], None]] = attrs.field(factory=list)
    saver: SnapshotSaver = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.saver = SnapshotSaver(
            self.policy, self.disk, self.submit, newest=at(0), saved=self.saved.append, note=self.notes.append
        )

    def submit(
        self,
        job: Callable[[], object],
        then: Callable[[], object] | None = None,
        otherwise: Callable[[StorageError], object] | None = None,
    ) -> None:
        def run() -> None:
            try:
                job()
            except StorageError as error:
                assert otherwise is not None, "a snapshot's failure has somebody to tell"
                otherwise(error)
            else:
                assert then is not None, "a snapshot's success too"
                then()

        self.jobs.append(run)

    def run_jobs(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def save(self, commands: int, now: float) -> None:
        self.saver.save(at(commands), Captured(b"state"), now)
        self.run_jobs()


def at(commands: int) -> SnapshotMeta:
    return SnapshotMeta(index=commands, term=1, commands=commands)


def test_a_snapshot_is_due_after_so_many_commands() -> None:
    bench = Bench()

    assert bench.saver.due_at(at(99)) == inf
    assert bench.saver.due_at(at(100)) == -inf


def test_a_snapshot_is_due_after_so_many_bytes() -> None:
    bench = Bench()
    bench.saver.applied(999)
    assert bench.saver.due_at(at(1)) == inf

    bench.saver.applied(1)

    assert bench.saver.due_at(at(1)) == -inf


def test_a_snapshot_is_due_at_an_age_if_there_is_anything_new() -> None:
    bench = Bench(CompactionPolicy(snapshot_every_seconds=60.0))
    bench.save(1, now=1000.0)

    assert bench.saver.due_at(at(1)) == inf
    assert bench.saver.due_at(at(2)) == 1060.0


def test_what_a_snapshot_covers_does_not_count_for_the_next() -> None:
    bench = Bench()
    bench.saver.applied(1000)

    bench.save(100, now=1.0)

    assert bench.saver.due_at(at(199)) == inf
    assert bench.saver.due_at(at(200)) == -inf


def test_what_an_installed_snapshot_covers_does_not_count_either() -> None:
    bench = Bench()
    bench.saver.applied(1000)

    bench.saver.installed(at(100))

    assert bench.saver.due_at(at(199)) == inf


def test_each_slice_is_a_job_of_its_own_and_nothing_is_due_meanwhile() -> None:
    bench = Bench()
    bench.saver.save(at(100), Pieces(3), 1.0)

    for _ in range(4):
        assert len(bench.jobs) == 1
        assert bench.saved == []
        assert bench.saver.due_at(at(500)) == inf
        bench.jobs.pop()()

    assert bench.disk.slices == [b"0", b"1", b"2"]
    assert bench.saved == [at(100)]


def test_a_snapshot_that_the_disk_refuses_is_taken_again_later() -> None:
    bench = Bench()
    bench.disk.fails = True
    bench.save(100, now=50.0)

    assert bench.saved == []
    assert bench.notes == [f"the snapshot up to entry 100 is put off: {FULL}"]
    assert bench.saver.due_at(at(100)) == 51.0

    bench.disk.fails = False
    bench.save(100, now=51.0)

    assert bench.saved == [at(100)]
    assert bench.saver.due_at(at(199)) == inf


def test_the_longer_it_is_refused_the_less_often_it_is_tried() -> None:
    bench = Bench()
    bench.disk.fails = True
    waits = []
    now = 0.0
    for _ in range(8):
        bench.save(100, now)
        waits.append(bench.saver.due_at(at(100)) - now)
        now += waits[-1]

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LAST_RETRY_SECONDS, LAST_RETRY_SECONDS]


@pytest.mark.parametrize("failures", [1, 2000])
def test_patience_stays_finite(failures: int) -> None:
    bench = Bench()
    bench.disk.fails = True
    for _ in range(failures):
        bench.save(100, 0.0)

    assert 0.0 < bench.saver.due_at(at(100)) <= LAST_RETRY_SECONDS


def test_a_large_state_is_saved_when_the_log_has_grown_by_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftswarm.consensus.compaction.SMALL_STATE_BYTES", 500)
    bench = Bench()
    bench.saver.save(at(100), Captured(bytes(600)), 0.0)
    bench.run_jobs()

    bench.saver.applied(1199)
    assert bench.saver.due_at(at(300)) == inf

    bench.saver.applied(1)
    assert bench.saver.due_at(at(300)) == -inf


def test_a_large_state_is_saved_in_time_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftswarm.consensus.compaction.SMALL_STATE_BYTES", 500)
    bench = Bench(CompactionPolicy(snapshot_every_commands=100, snapshot_every_seconds=60))
    bench.saver.save(at(100), Captured(bytes(600)), 7.0)
    bench.run_jobs()

    assert bench.saver.due_at(at(300)) == 67.0
