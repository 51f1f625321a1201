"""Faults strike as drawn; what struck, read from a list, makes the same run; healing leaves a quorum that can serve."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.lab.clients import Clients
from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import AnyFault, FaultEvent
from raftswarm.lab.faults import FaultMix, draw_fault_mix
from raftswarm.lab.nemesis import Nemesis, Script
from raftswarm.lab.phases import heal_core
from raftswarm.lab.seeds import SeedOutcome, run_seed
from raftswarm.lab.trace import Trace
from raftswarm.raft import leases
from raftswarm.raft.core import Core
from raftswarm.raft.roles import Leader


def quorum_of(members: int) -> int:
    return members // 2 + 1


def under(seed: int, faults: FaultMix, *, members: int = 3) -> tuple[CoreWorld, Nemesis]:
    """A world with clients and faults."""
    world = CoreWorld(seed, members=members, faults=faults)
    Clients(world)
    return world, Nemesis(world)


def test_without_faults_only_clients_come() -> None:
    world = CoreWorld(1, faults=FaultMix(call_every=0.1))
    clients = Clients(world)
    Nemesis(world)

    world.run_for(5.0)

    assert 20 < clients.calls < 80
    assert not [event for event in world.struck if event.fault.kind != "start"]
    assert world.running == [1, 2, 3]
    assert world.history.acknowledged_writes > 10


def test_crashes_come_and_members_come_back() -> None:
    world, _ = under(2, FaultMix(crash_every=0.5, down_seconds=0.5, power_share=0.5))
    counts = set()

    for _ in range(100):
        world.run_for(0.1)
        counts.add(len(world.running))

    assert {2, 3} <= counts


@pytest.mark.parametrize("seed", range(6))
def test_what_has_fitted_no_moment_yet_is_tried_again_soon(seed: int) -> None:
    world, nemesis = under(seed, FaultMix(stall_every=5.0))
    for member in world.running:
        world.pause(member)
    world.run_for(20.0)
    assert nemesis.strikes == {"stall": 0, "start": 0}

    for member in (1, 2, 3):
        world.resume(member)
    world.run_for(1.5)

    assert nemesis.strikes["stall"] > 0


def test_nothing_strikes_after_the_end() -> None:
    world, nemesis = under(3, FaultMix(crash_every=0.1))
    world.run_for(1.0)

    nemesis.stop()
    struck, running = len(world.struck), world.running
    world.run_for(5.0)

    assert (len(world.struck), world.running) == (struck, running)


@pytest.mark.parametrize("seed", range(5))
def test_the_healed_core_is_a_quorum_that_runs_and_the_rest_stays_broken(seed: int) -> None:
    faults = FaultMix(crash_every=0.3, pause_every=0.5, partition_every=0.5)
    world, nemesis = under(seed, faults, members=5)
    world.run_for(5.0)
    nemesis.stop()

    core = heal_core(world, world.chance("healing"))
    world.run_until(lambda: world.leader in core, within_seconds=10.0, what="a leader of the core")

    assert len(core) == quorum_of(5)
    assert set(core) <= set(world.running)


def test_members_come_and_go() -> None:
    world, _ = under(4, FaultMix(change_every=0.3))

    world.run_for(15.0)

    assert len(world.hosts) > 3
    leader = world.leader
    assert leader is not None
    assert world.hosts[leader].configuration.member_ids != (1, 2, 3)


def test_machines_that_are_lost_are_replaced() -> None:
    world, _ = under(6, FaultMix(lose_every=3.0))

    world.run_for(30.0)

    lost = [host.member_id for host in world.hosts.values() if host.is_lost]
    assert len(lost) > 2
    assert len(world.configuration.voters) == 3
    assert len({*world.configuration.member_ids} & {*lost}) <= 1
    assert world.history.acknowledged_writes > 100


def test_two_lead_at_once_when_one_cannot_hear_of_the_other() -> None:
    world, _ = under(5, FaultMix(usurp_every=2.0, partition_seconds=0.5))
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

    failures = [run_seed(seed, 1.0).failure for seed in range(1, 6)]

    assert all("no quorum has confirmed since that it leads" in str(failure) for failure in failures)


def test_a_drawn_world_gets_work_done() -> None:
    """Faults so heavy that nothing is ever committed would find nothing."""
    committed = []
    for seed in range(20):
        world, _ = under(seed, draw_fault_mix(CoreWorld.chance_of(seed, "mix")))
        world.run_for(5.0)
        committed.append(world.invariants.last_committed)

    assert sum(1 for count in committed if count > 10) >= 10


# What struck, read from a list.

EVERY_FAULT = FaultMix(
    other_networks=(NetworkConditions(loss=0.1, duplication=0.2, reordering=0.2, capacity=2),),
    crash_every=4.0,
    down_seconds=0.3,
    power_share=0.5,
    turn_crash_share=0.3,
    recovery_crash_share=0.3,
    all_crash_every=20.0,
    storm_every=15.0,
    stop_every=8.0,
    pause_every=5.0,
    clock_stands_share=0.5,
    slow_every=5.0,
    lose_every=20.0,
    stall_every=5.0,
    stall_seconds=0.3,
    disk_failure_every=8.0,
    lying_sync_every=15.0,
    bit_flip_every=15.0,
    misdirect_every=15.0,
    lost_name_every=15.0,
    set_back_every=6.0,
    clock_spread=0.5,
    clock_change_every=3.0,
    wall_spread_seconds=3600.0,
    wall_jump_every=3.0,
    partition_every=8.0,
    partition_seconds=0.5,
    mesh_every=8.0,
    clog_every=4.0,
    clog_seconds=0.3,
    swizzle_every=10.0,
    half_open_every=4.0,
    reconnect_every=4.0,
    link_change_every=4.0,
    usurp_every=8.0,
    nonsense_every=2.0,
    transfer_every=5.0,
    change_every=8.0,
    session_share=0.5,
    duplicate_share=0.2,
    trial_every=2.0,
)


OPERATORS = FaultMix(
    call_every=0.02,
    crash_every=4.0,
    down_seconds=0.3,
    upgrade_every=6.0,
    older_version_every=4.0,
    found_again_every=4.0,
    backup_every=6.0,
)
"""Those of the others would seldom leave them a moment that fits."""


def run(
    seed: int, seconds: float, script: list[FaultEvent] | None = None, *, mix: FaultMix = EVERY_FAULT
) -> tuple[CoreWorld, str]:
    trace = Trace(enabled=True, keep_lines=False)
    world = CoreWorld(seed, members=5, faults=mix, trace=trace)
    Clients(world)
    if script is None:
        Nemesis(world)
    else:
        Script(world, script)
    world.run_for(seconds)
    return world, trace.digest()


@pytest.mark.parametrize("mix", [EVERY_FAULT, OPERATORS])
@pytest.mark.parametrize("seed", range(3))
def test_what_struck_makes_the_same_run_when_it_is_read_from_a_list(seed: int, mix: FaultMix) -> None:
    drawn, digest = run(seed, 15.0, mix=mix)
    told = msgspec.json.decode(msgspec.json.encode(drawn.struck), type=list[FaultEvent])

    replayed, again = run(seed, 15.0, told, mix=mix)

    assert told == drawn.struck == replayed.struck
    assert (again, replayed.heap.events_run) == (digest, drawn.heap.events_run)


def test_any_part_of_the_list_makes_a_run() -> None:
    """What no longer fits the moment does nothing: shrinking may leave out what it likes."""
    drawn, _ = run(1, 10.0)
    chance = drawn.chance("shrinking")

    for _ in range(3):
        some = [event for event in drawn.struck if chance.random() < 0.5]
        shrunk, _ = run(1, 10.0, some)
        assert [event for event in some if event in shrunk.struck] == shrunk.struck


def test_every_kind_of_fault_strikes_sooner_or_later() -> None:
    """The generators have to be checked too: a fault that is never drawn finds nothing."""
    kinds = {kind.__name__ for kind in AnyFault.__subclasses__()}
    struck: set[str] = set()
    for seed in range(12):
        for mix in (EVERY_FAULT, OPERATORS):
            world, _ = run(seed, 15.0, mix=mix)
            struck |= {type(event.fault).__name__ for event in world.struck}
        if struck == kinds:
            return

    assert struck == kinds


def test_a_seed_tells_what_struck_by_kind() -> None:
    outcome: SeedOutcome = run_seed(7, 10.0)

    assert outcome.failure is None
    assert sum(outcome.struck_by_kind.values()) == len(outcome.struck) > 0
