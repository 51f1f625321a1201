"""What has to come back when faults end, beyond a leader, answers and agreement: snapshots."""

from __future__ import annotations

import errno
from math import inf

import pytest

from raftswarm.consensus.compaction import CompactionPolicy, SnapshotSaver
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import FailDisk
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import SNAPSHOTS_DIRECTORY
from raftswarm.lab.invariants import Violation
from raftswarm.lab.phases import check_liveness
from tests.lab.steps import followers, lead, write

OFTEN = FaultMix(compaction=CompactionPolicy(snapshot_every_commands=5))


def test_a_member_that_takes_no_snapshots_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SnapshotSaver, "due_at", lambda *_: inf)
    world = CoreWorld(3, faults=OFTEN)
    lead(world)

    with pytest.raises(Violation, match="a snapshot of member 1 did not happen"):
        check_liveness(world)


def test_a_disk_that_was_full_for_a_while_is_forgiven() -> None:
    world = CoreWorld(3, faults=OFTEN)
    lead(world)
    victim = followers(world)[0]
    world.apply(FailDisk(victim, errno.ENOSPC, below=SNAPSHOTS_DIRECTORY))
    for number in range(20):
        write(world, b"%d" % number)
    world.run_for(5.0)
    assert world.invariants.durable(victim).snapshot.commands == 0

    check_liveness(world)

    assert world.invariants.durable(victim).snapshot.commands > 20
