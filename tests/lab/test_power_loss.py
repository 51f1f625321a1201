"""The power fails at every disk call (Figure 2: updated on stable storage before responding); and bugs that it finds.

raftswarm lab power-loss --budget 600 --members 5      # the same for ten minutes
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.lab import power_loss
from raftswarm.lab.power_loss import Fate, Tally, run_power_loss
from raftswarm.storage import log, segment, snapshot_file
from raftswarm.storage.segment import SegmentWriter
from raftswarm.storage.snapshot_file import SnapshotWriter
from raftswarm.world.simulated_disk import SimulatedDisk, SimulatedFile


def test_nothing_acknowledged_is_lost_whenever_the_power_fails() -> None:
    tally = Tally()
    for seed, members, seconds in ((1, 3, 0.15), (2, 1, 0.3)):
        tally.add(run_power_loss(seed, seconds, members=members))

    assert tally.violations == []
    assert tally.disk_calls.total() > 500
    assert tally.failures_of
    assert set(tally.images) == {*Fate}
    assert tally.cut_whole
    assert tally.ahead, "no write was under way at any of these moments"
    assert tally.clusters >= tally.disk_calls.total()
    assert tally.acknowledged > 50


def test_a_run_depends_on_nothing_but_its_seed() -> None:
    assert run_power_loss(4, 0.05, members=1) == run_power_loss(4, 0.05, members=1)


# Bugs that it has to find.


def _append_without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    append = SegmentWriter.append

    def forget(self: SegmentWriter, payload: bytes) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimulatedFile, "sync", lambda _: None)
            append(self, payload)

    monkeypatch.setattr(SegmentWriter, "append", forget)


def _name_a_segment_before_it_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = SimulatedFile.sync

    def skip_header(self: SimulatedFile) -> None:
        if not (self._path.endswith(".segment.part") and self._disk.exists(self._path)):
            sync(self)

    monkeypatch.setattr(SimulatedFile, "sync", skip_header)


def _never_sync_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda *_: None)


def _build_on_a_tail_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_settle", lambda *_: None)
    monkeypatch.setattr(power_loss, "KILL_SHARE", 1.0)
    monkeypatch.setattr(power_loss, "MAX_CALLS_OF_A_CUT_JOB", 2)
    monkeypatch.setattr(power_loss, "RUN_SECONDS", 0.1)
    monkeypatch.setattr(power_loss, "DOWN_SECONDS", 0.02)


def _finish_a_snapshot_without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = SnapshotWriter.finish

    def forget(self: SnapshotWriter) -> snapshot_file.SnapshotFile:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimulatedFile, "sync", lambda _: None)
            return finish(self)

    monkeypatch.setattr(SnapshotWriter, "finish", forget)


def _take_every_torn_end_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "_is_proven_durable", lambda *_: True)


@pytest.mark.parametrize(
    ("plant", "members"),
    [
        (_append_without_sync, 3),
        (_name_a_segment_before_it_is_synced, 3),
        (_never_sync_directories, 3),
        (_build_on_a_tail_that_is_not_synced, 1),
        (_finish_a_snapshot_without_sync, 3),
        (_take_every_torn_end_for_damage, 3),
    ],
)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    found = next(filter(None, (run_power_loss(seed, 0.5, members=members).violations for seed in range(1, 6))), None)

    assert found, "five worlds have not found it"
