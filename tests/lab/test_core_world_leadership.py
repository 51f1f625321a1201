"""Who leads, and what leases allow it, told in virtual time (dissertation 3.10, 6.4)."""

from __future__ import annotations

import pytest

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.raft.messages import AnyMessage, AppendEntries
from raftswarm.raft.settings import RaftSettings
from tests.lab.steps import T, finish, followers, lead, succeed, write


def test_leadership_is_transferred_without_an_election_timeout() -> None:
    world = CoreWorld(17)
    lead(world)
    heir = followers(world)[0]

    world.transfer_leadership(heir)

    world.run_until(lambda: world.leader == heir, within_seconds=0.1, what="the transfer")


LEASES = RaftSettings(lease_reads=True, clock_drift=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_leadership_leaves_a_slow_disk_and_commits_go_on(seed: int) -> None:
    world = CoreWorld(seed)
    old = lead(world)
    world.run_for(T)
    world.hosts[old].stall_seconds = 1000.0

    world.propose(b"stuck on one disk")
    new = succeed(world, old, within_seconds=2 * T)
    write(world, b"two")

    assert new != old
    world.run_for(20 * T)
    assert world.leader == new


def test_if_all_disks_are_slow_leadership_stays() -> None:
    world = CoreWorld(1)
    old = lead(world)
    world.run_for(T)
    for host in world.hosts.values():
        host.stall_seconds = 3.0

    call = finish(world, world.propose(b"slow"), within_seconds=30.0)

    assert call.error is None
    assert world.leader == old


def test_the_highest_priority_leads_in_the_end_and_others_while_it_is_away() -> None:
    world = CoreWorld(3, faults=FaultMix(priority_levels=3))  # Member 2 has the highest.
    world.run_until(lambda: world.leader == 2, within_seconds=15 * T, what="leadership of 2")
    term = world.process(2).leadership.term
    world.run_for(20 * T)
    assert world.process(2).leadership.term == term

    world.crash(2)
    succeed(world, 2, within_seconds=0.1)
    world.start(2)

    world.run_until(lambda: world.leader == 2, within_seconds=15 * T, what="leadership of 2")
    write(world, b"one")


def test_a_lease_answers_when_nobody_else_does_but_not_for_long() -> None:
    world = CoreWorld(1, settings=LEASES)
    leader = lead(world)
    world.run_for(T)
    world.isolate(leader)

    at_once = world.read(member=leader)
    world.run_for(0.01)
    assert at_once.error is None
    assert at_once.ended_at is not None

    world.run_for(T)
    assert finish(world, world.read(member=leader)).error is not None


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_slept_through_its_lease_does_not_answer_by_it(seed: int) -> None:
    world = CoreWorld(seed, settings=LEASES)
    old = lead(world)
    world.run_for(T)
    world.pause(old)
    succeed(world, old, within_seconds=4 * T)
    write(world, b"one")

    late = world.read(member=old)
    world.isolate(old)
    world.resume(old)

    assert finish(world, late).error is not None  # The history itself looks for reads that see too little.


@pytest.mark.parametrize("settings", [RaftSettings(), LEASES], ids=["rounds", "leases"])
def test_a_leader_that_does_not_hear_of_its_heir_answers_no_reads(settings: RaftSettings) -> None:
    world = CoreWorld(5, settings=settings)
    old = lead(world)
    world.run_for(T)
    for other in followers(world):
        world.network.cut(other, old)
    world.transfer_leadership()
    new = succeed(world, old, within_seconds=0.1)
    finish(world, world.propose(b"one", member=new))
    assert world.process(old).member.is_leader

    late = world.read(member=old)
    world.run_for(0.5 * T)
    world.heal()

    assert finish(world, late).error is None  # By its successor; the history looks for reads that see too little.


@pytest.mark.parametrize("seed", range(8))
def test_a_restarted_voter_elects_nobody_while_a_lease_may_run(seed: int) -> None:
    """One voter is the only one who hears the leader; it is started again and forgets that it did."""
    world = CoreWorld(seed, settings=LEASES)
    old = lead(world)
    forgetful, candidate = followers(world)
    world.partition([old], [candidate])
    world.run_for(3 * T)
    world.isolate(old)
    world.crash(forgetful)
    world.start(forgetful)

    for _ in range(400):
        world.read(member=old)  # The history looks for reads that see too little.
        if world.leader not in {None, old}:
            world.propose(b"one")
        world.run_for(0.01)

    assert world.history.acknowledged_reads > 10
    assert world.history.acknowledged_writes > 10


@pytest.mark.parametrize("seed", range(5))
def test_a_restarted_voter_with_an_empty_log_elects_nobody_while_a_lease_may_run(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It has heard its leader, and nothing of the log yet: it is not its cluster's only voter."""
    world = CoreWorld(seed, members=2, settings=LEASES)
    old = lead(world)
    (candidate,) = followers(world)
    world.run_for(T)
    new = world.build_member()
    post = world.network.post

    def lose_entries(message: AnyMessage) -> bool:
        return (isinstance(message, AppendEntries) and (message.sender, message.to) == (old, new)) or post(message)

    monkeypatch.setattr(world.network, "post", lose_entries)
    world.add_member(new)
    world.run_for(0.1)
    world.partition([old], [candidate])
    world.run_for(3 * T)
    world.isolate(old)
    world.crash(new)
    world.start(new)

    for _ in range(300):
        world.read(member=old)  # The history looks for reads that see too little.
        if world.leader not in {None, old}:
            world.propose(b"one")
        world.run_for(0.01)

    assert world.history.acknowledged_reads > 10
    assert world.history.acknowledged_writes > 10
