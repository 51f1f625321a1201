"""What is tried on copies of a disk changes nothing, and each trial notices a recovery that takes less for all."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.lab.clients import Clients
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import Fault, TryFlip, TryOldLogs, TryPowerLoss
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import LOG_DIRECTORY
from raftswarm.lab.invariants import Violation
from raftswarm.lab.nemesis import Nemesis
from raftswarm.storage import segment
from raftswarm.storage.replay import Replayed
from raftswarm.world.simulated_disk import SimulatedDisk
from tests.lab.steps import T, followers, lead, write

BUSY = FaultMix(
    call_every=0.02,
    segment_bytes=4096,
    compaction=CompactionPolicy(snapshot_every_commands=4, keep_entries=0),
)
TRIED = attrs.evolve(BUSY, trial_every=0.1)


def build(mix: FaultMix) -> CoreWorld:
    world = CoreWorld(1, faults=mix)
    Clients(world)
    Nemesis(world)
    return world


def run(mix: FaultMix) -> CoreWorld:
    world = build(mix)
    world.run_for(20.0)
    return world


def begin() -> tuple[CoreWorld, int]:
    """Return a world in which something was written, and a follower in it."""
    world = CoreWorld(1)
    lead(world)
    for number in range(5):
        write(world, b"%d" % number)
    world.run_for(T)
    return world, followers(world)[0]


def test_an_engine_in_order_passes_them_all() -> None:
    world = run(TRIED)

    assert all(world.struck_by_kind[kind] > 10 for kind in ("try_flip", "try_power_loss", "try_old_logs"))
    assert world.outcomes == {}
    assert world.running == [1, 2, 3]


def test_they_change_nothing_of_the_run() -> None:
    tried, plain = run(TRIED), run(BUSY)

    assert tried.invariants.committed == plain.invariants.committed
    assert tried.history.acknowledged_writes == plain.history.acknowledged_writes


@pytest.mark.parametrize("trial", [TryPowerLoss(1, LOG_DIRECTORY, False, 1), TryOldLogs(1)])
def test_one_waits_for_its_moment_at_a_time(trial: Fault) -> None:
    world, _ = begin()

    assert world.apply(trial)

    assert not world.apply(TryPowerLoss(1, LOG_DIRECTORY, False, 1))


def test_a_bit_in_any_of_the_newest_records_is_missed_by_who_takes_all_damage_for_a_torn_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, member = begin()
    monkeypatch.setattr(segment, "_is_proven_durable", lambda *_: False)

    with pytest.raises(Violation, match=r"^19: the disk of . is damaged, and its member does not notice"):
        world.apply(TryFlip(member, 1, 0.5))


def test_names_that_are_not_synced_are_missed_when_the_power_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    world = build(TRIED)
    sync = SimulatedDisk.sync_directory
    monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda disk, path: path == LOG_DIRECTORY or sync(disk, path))

    with pytest.raises(
        Violation, match=r"the power failed, all of it lost, and member . (refuses to start|has lost something)"
    ):
        world.run_for(20.0)


def test_a_log_that_is_not_compared_with_the_snapshot_beside_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replayed, "holds", lambda *_: True)

    with pytest.raises(Violation, match=r"^19: member . takes an older log beside its snapshot"):
        run(TRIED)
