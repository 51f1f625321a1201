"""Faults strike as drawn, and healing leaves a quorum that can serve."""

from __future__ import annotations

import pytest

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix, draw_fault_mix
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.seeds import run_seed
from raftswarm.raft import leases
from raftswarm.raft.core import Core
from raftswarm.raft.roles import Leader


def quorum_of(members: int) -> int:
    return members // 2 + 1


def test_without_faults_only_clients_come() -> None:
    world = CoreWorld(1, faults=FaultMix(call_every=0.1))
    nemesis = Nemesis(world)

    world.run_for(5.0)

    assert 20 < nemesis.strikes < 80
    assert world.running == [1, 2, 3]
    assert world.history.acknowledged_writes > 10


def test_crashes_come_and_members_come_back() -> None:
    world = CoreWorld(2, faults=FaultMix(crash_every=0.5, down_seconds=0.5, power_share=0.5, call_every=0.1))
    Nemesis(world)
    counts = set()

    for _ in range(100):
        world.run_for(0.1)
        counts.add(len(world.running))

    assert {2, 3} <= counts


def test_nothing_strikes_after_the_end() -> None:
    world = CoreWorld(3, faults=FaultMix(crash_every=0.1, call_every=0.1))
    nemesis = Nemesis(world)
    world.run_for(1.0)

    nemesis.stop()
    strikes, running = nemesis.strikes, world.running
    world.run_for(5.0)

    assert (nemesis.strikes, world.running) == (strikes, running)


@pytest.mark.parametrize("seed", range(5))
def test_the_healed_core_is_a_quorum_that_runs_and_the_rest_stays_cut_off(seed: int) -> None:
    faults = FaultMix(crash_every=0.3, pause_every=0.5, partition_every=0.5, call_every=0.1)
    world = CoreWorld(seed, members=5, faults=faults)
    nemesis = Nemesis(world)
    world.run_for(5.0)
    nemesis.stop()

    core = nemesis.heal_core()
    world.run_until(lambda: world.leader in core, within_seconds=10.0, what="a leader of the core")

    assert len(core) == quorum_of(5)
    assert set(core) <= set(world.running)


def test_members_come_and_go() -> None:
    world = CoreWorld(4, faults=FaultMix(change_every=0.3, call_every=0.1))
    Nemesis(world)

    world.run_for(15.0)

    assert len(world.hosts) > 3
    leader = world.leader
    assert leader is not None
    assert world.hosts[leader].configuration.member_ids != (1, 2, 3)


def test_two_lead_at_once_when_one_cannot_hear_of_the_other() -> None:
    world = CoreWorld(5, faults=FaultMix(usurp_every=2.0, partition_seconds=0.5, call_every=0.1))
    Nemesis(world)
    most = 0

    for _ in range(2000):
        world.run_for(0.01)
        most = max(most, sum(world.process(member).leadership.is_leader for member in world.running))

    assert most == 2
    assert world.history.acknowledged_reads > 100


def test_a_leader_that_does_not_confirm_its_leadership_before_it_reads_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A planted bug: it takes every moment for one of its lease."""

    def always(core: Core, role: Leader) -> bool:
        return core.role is role

    monkeypatch.setattr(leases, "holds", always)

    failures = (run_seed(seed, 20.0).failure for seed in range(1, 41))

    assert "was acknowledged before" in str(next(failure for failure in failures if failure is not None))


def test_a_drawn_world_gets_work_done() -> None:
    """Faults so heavy that nothing is ever committed would find nothing."""
    committed = []
    for seed in range(20):
        world = CoreWorld(seed, faults=draw_fault_mix(CoreWorld.chance_of(seed, "mix")))
        Nemesis(world)
        world.run_for(5.0)
        committed.append(world.invariants.last_committed)

    assert sum(1 for count in committed if count > 10) >= 10
