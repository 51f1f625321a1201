"""What a cluster does when things go wrong, told as scenarios in virtual time (paper 5, 6 and 7)."""

from __future__ import annotations

import errno
from functools import partial

import pytest

from raftswarm.consensus.replica import CompactionPolicy, Replica
from raftswarm.errors import NotLeader, OutcomeUnknown, Rejected
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import DiskConditions, FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import REFUSED
from raftswarm.lab.trace import Trace
from raftswarm.raft.events import Written
from raftswarm.raft.ready import Write
from tests.lab.steps import T, agree, finish, followers, journal, lead, succeed, write


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_a_new_cluster_elects_a_leader_and_serves(members: int) -> None:
    world = CoreWorld(1, members=members)
    lead(world)

    write(world, b"one", b"two")

    agree(world, b"one", b"two")


def test_a_leader_is_stable_while_nothing_goes_wrong() -> None:
    world = CoreWorld(2)
    leader = lead(world)
    term = world.process(leader).leadership.term

    world.run_for(20 * T)

    assert world.leader == leader
    assert world.process(leader).leadership.term == term


def test_a_follower_names_the_leader_and_does_nothing() -> None:
    world = CoreWorld(3)
    leader = lead(world)
    world.run_for(T)

    call = finish(world, world.propose(b"lost", member=followers(world)[0]))

    assert isinstance(call.error, NotLeader)
    assert call.error.leader == leader


def test_a_refusal_of_the_state_machine_reaches_the_client() -> None:
    world = CoreWorld(4)
    lead(world)

    call = finish(world, world.propose(REFUSED))

    assert isinstance(call.error, Rejected)


def test_a_read_comes_after_the_writes_before_it() -> None:
    world = CoreWorld(5)
    lead(world)
    write(world, b"one")

    call = finish(world, world.read())

    assert call.error is None
    assert world.history.acknowledged_reads == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_dies_is_replaced_within_100_ms(seed: int) -> None:
    """Its peers are refused when they reconnect: a hint."""
    world = CoreWorld(seed)
    old = lead(world)
    write(world, b"one")
    world.run_for(T)

    world.crash(old)
    succeed(world, old, within_seconds=0.1)

    write(world, b"two")
    agree(world, b"one", b"two")


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_stops_cleanly_is_replaced_within_100_ms(seed: int) -> None:
    world = CoreWorld(seed)
    old = lead(world)
    world.run_for(T)

    world.stop(old)

    succeed(world, old, within_seconds=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_paused_leader_is_replaced_within_the_timeouts(seed: int) -> None:
    """Nothing tells of it but silence: [T, 2T) and the votes."""
    world = CoreWorld(seed)
    old = lead(world)

    world.pause(old)
    new = succeed(world, old, within_seconds=2.2 * T)

    write(world, b"new")
    world.resume(old)
    agree(world, b"new")
    assert world.leader == new


def test_a_machine_that_loses_power_is_replaced_within_the_timeouts() -> None:
    world = CoreWorld(6)
    old = lead(world)

    world.crash(old, power_lost=True)

    succeed(world, old, within_seconds=2.2 * T)


def test_what_a_cut_off_leader_could_not_commit_is_never_applied() -> None:
    world = CoreWorld(7)
    old = lead(world)
    write(world, b"before")
    world.isolate(old)

    lost = world.propose(b"lost", member=old)
    succeed(world, old, within_seconds=2.2 * T)
    write(world, b"after")
    world.heal()

    agree(world, b"before", b"after")
    assert isinstance(finish(world, lost).error, OutcomeUnknown)


def test_a_leader_that_slept_does_not_take_its_successors_entries_for_its_own() -> None:
    """It learns in one turn what stands where its proposals stood, and that it is committed (8)."""
    world = CoreWorld(7)
    old = lead(world)
    write(world, b"before")
    world.isolate(old)
    lost = []
    for _ in range(2):
        lost.append(world.propose(b"lost", member=old))
        world.run_for(T / 10)
    world.pause(old)
    succeed(world, old, within_seconds=2.2 * T)
    write(world, b"after")

    world.heal()
    world.run_for(T)
    world.resume(old)

    agree(world, b"before", b"after")
    for call in lost:
        assert isinstance(finish(world, call).error, OutcomeUnknown)


def test_a_leader_without_a_quorum_steps_down() -> None:
    world = CoreWorld(8)
    old = lead(world)

    world.isolate(old)
    world.run_for(2.2 * T)

    assert not world.process(old).leadership.is_leader


def test_a_member_that_was_cut_off_does_not_disturb_when_it_returns() -> None:
    """Pre-vote (9.6): its term has not moved."""
    world = CoreWorld(9)
    leader = lead(world)
    term = world.process(leader).leadership.term
    world.isolate(followers(world)[0])
    world.run_for(10 * T)

    world.heal()
    world.run_for(5 * T)

    assert world.leader == leader
    assert world.process(leader).leadership.term == term


def test_a_follower_far_behind_catches_up_by_a_snapshot() -> None:
    trace = Trace(enabled=True)
    policy = CompactionPolicy(snapshot_every_commands=5, keep_entries=2, keep_bytes_for_followers=0)
    world = CoreWorld(10, compaction=policy, trace=trace)
    lead(world)
    behind = followers(world)[0]
    world.crash(behind)
    commands = [b"%d" % number for number in range(30)]
    for command in commands:
        write(world, command)

    world.start(behind)

    agree(world, *commands)
    assert any(f"{behind}: received a snapshot" in line for line in trace.lines)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_acknowledged_is_lost_when_all_machines_lose_power(seed: int) -> None:
    world = CoreWorld(seed)
    for round_number in range(3):
        lead(world)
        write(world, b"kept %d" % round_number)
        for member in list(world.hosts):
            world.crash(member, power_lost=True)
        for member in world.hosts:
            world.start(member)

    lead(world)
    agree(world, b"kept 0", b"kept 1", b"kept 2")


@pytest.mark.parametrize("seed", range(10))
def test_a_torn_tail_is_cut_and_the_member_goes_on(seed: int) -> None:
    world = CoreWorld(seed, members=1, faults=FaultMix(disk=DiskConditions(latency_seconds=0.01)))
    lead(world)
    write(world, b"kept")
    unknown = world.propose(b"maybe")
    world.run_for(0.005)

    world.crash(1, power_lost=True)
    world.start(1)
    lead(world)
    write(world, b"after")

    assert isinstance(unknown.error, OutcomeUnknown)
    assert journal(world, 1) in ([b"kept", b"after"], [b"kept", b"maybe", b"after"])


def test_a_crash_in_recovery_loses_nothing() -> None:
    world = CoreWorld(11, members=1)
    lead(world)
    write(world, b"kept")
    world.crash(1)

    for calls in range(40):
        world.start_and_crash(1, calls, power_lost=True)
    world.start(1)

    lead(world)
    agree(world, b"kept")


def test_a_member_whose_disk_fails_stops_and_the_others_go_on() -> None:
    world = CoreWorld(12)
    old = lead(world)

    world.fail_disk(old, OSError(errno.EIO, "input/output error"))
    call = world.propose(b"unknown")
    succeed(world, old, within_seconds=1.0)

    assert world.hosts[old].process is None
    assert isinstance(call.error, OutcomeUnknown)
    write(world, b"two")
    world.start(old)
    world.run_until(partial(_has, world, old, b"two"), within_seconds=5.0)


def _has(world: CoreWorld, member: int, command: bytes) -> bool:
    return command in journal(world, member)


def test_calls_to_a_crashed_member_end() -> None:
    world = CoreWorld(18)
    old = lead(world)
    write_call, read_call = world.propose(b"x"), world.read()

    world.crash(old)
    later = world.propose(b"y", member=old)

    assert isinstance(write_call.error, OutcomeUnknown)
    assert isinstance(read_call.error, OutcomeUnknown)
    assert isinstance(later.error, NotLeader)


def test_a_clock_that_goes_fast_or_slow_does_no_harm() -> None:
    world = CoreWorld(19, faults=FaultMix(clock_spread=0.3, wall_spread_seconds=3600.0))
    leader = lead(world)

    write(world, b"one")
    world.run_for(10 * T)

    assert world.leader == leader


def test_equal_seeds_give_equal_traces_and_others_do_not() -> None:
    def run(seed: int) -> list[str]:
        trace = Trace(enabled=True)
        world = CoreWorld(seed, trace=trace)
        world.run_for(5.0)
        return trace.lines

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_an_acknowledgement_before_the_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug in the replica: it believes a write the moment it hands it out."""
    submit = Replica._write

    def believe(replica: Replica, work: Write, now: float) -> None:
        submit(replica, work, now)
        replica.offer(Written(work.number, work.last_term, work.last_index))

    monkeypatch.setattr(Replica, "_write", believe)

    with pytest.raises(Violation, match=r"^10:"):
        CoreWorld(1).run_for(5.0)
