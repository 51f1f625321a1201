"""Members come, go and change their parts while things go wrong, told in virtual time (dissertation 4)."""

from __future__ import annotations

import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.history import Call
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration
from tests.lab.steps import T, agree, finish, followers, lead, succeed, write


def test_a_member_is_added_and_serves_when_others_are_gone() -> None:
    world = CoreWorld(13)
    lead(world)
    write(world, b"one")

    new = world.build_member()
    assert finish(world, world.add_member(new)).error is None
    agree(world, b"one")
    world.crash(next(member for member in followers(world) if member != new))

    write(world, b"two")
    agree(world, b"one", b"two")


def test_a_learner_gets_the_log_and_a_vote_later() -> None:
    world = CoreWorld(14)
    leader = lead(world)
    write(world, b"one")
    new = world.build_member()

    assert finish(world, world.add_member(new, learner=True)).error is None
    agree(world, b"one")
    assert finish(world, world.promote_member(new)).error is None

    assert [info.id for info in world.hosts[leader].configuration.voters] == [1, 2, 3, new]


def test_a_removed_member_is_not_needed_and_does_not_disturb() -> None:
    world = CoreWorld(15)
    leader = lead(world)
    removed, kept = followers(world)
    term = world.process(leader).leadership.term

    assert finish(world, world.remove_member(removed)).error is None
    world.run_for(10 * T)
    assert world.process(leader).leadership.term == term
    world.crash(removed)

    write(world, b"two of two")
    assert world.hosts[kept].configuration.member_ids == tuple(sorted((leader, kept)))


def test_a_leader_that_removes_itself_hands_over() -> None:
    world = CoreWorld(16)
    old = lead(world)

    finish(world, world.remove_member(old))

    succeed(world, old, within_seconds=2.2 * T)
    write(world, b"on")


def test_a_leader_that_was_removing_itself_leads_again_when_only_its_log_is_complete() -> None:
    """Dissertation 4.2.2: nobody else could win, and it has no vote in the newest configuration of its own log."""
    world = CoreWorld(20, members=2)
    old = lead(world)
    (other,) = followers(world)
    world.network.cut(old, other)
    world.remove_member(old)
    world.run_for(0.1)

    world.crash(old)
    world.heal()
    world.start(old)

    world.run_until(lambda: world.leader == other, within_seconds=10 * T, what="the end of the removal")
    write(world, b"on")


def test_a_member_that_learned_nothing_before_it_was_restarted_gives_its_vote() -> None:
    """It is in the newest configuration of the others, and its own log is empty still."""
    world = CoreWorld(21, members=1)
    lead(world)
    new = world.build_member()
    world.isolate(new)
    world.add_member(new)
    world.run_for(0.5)

    for member in (1, new):
        world.crash(member)
        world.start(member)
    world.heal()

    lead(world)
    write(world, b"on")


def test_a_removed_member_learns_that_it_is_gone() -> None:
    world = CoreWorld(16)
    lead(world)
    removed, _ = followers(world)

    assert finish(world, world.remove_member(removed)).error is None
    world.run_for(0.5)

    assert removed not in world.hosts[removed].configuration.member_ids


def finish_change(world: CoreWorld, call: Call) -> Configuration:
    """Wait until a change is committed, and a joint configuration that it went through is left."""
    assert finish(world, call).error is None
    world.run_until(lambda: not world.configuration.is_joint, within_seconds=2 * T, what="the end of the joint change")
    return world.configuration


def test_two_of_three_members_are_replaced_at_once() -> None:
    world = CoreWorld(41)
    leader = lead(world)
    write(world, b"one")
    old = followers(world)
    new = [world.build_member(), world.build_member()]

    configuration = finish_change(world, world.change_members(world.list_members([leader, *new])))
    for member in old:
        world.crash(member)

    assert configuration == world.list_members([leader, *new])
    write(world, b"two")
    agree(world, b"one", b"two")


@pytest.mark.parametrize("seed", range(42, 47))
def test_all_members_are_replaced_at_once_the_leader_too(seed: int) -> None:
    world = CoreWorld(seed)
    old = lead(world)
    write(world, b"one")
    new = [world.build_member() for _ in range(3)]

    assert finish(world, world.change_members(world.list_members(new))).error is None
    assert succeed(world, old, within_seconds=3 * T) in new
    for member in (1, 2, 3):
        world.crash(member)

    write(world, b"two")
    agree(world, b"one", b"two")


def test_a_joint_change_commits_nothing_while_either_majority_is_away() -> None:
    world = CoreWorld(47)
    leader = lead(world)
    old = followers(world)
    new = [world.build_member(), world.build_member()]
    target = world.list_members([leader, *new])
    finish(world, world.change_members(target, transition=Transition.EXPLICIT))

    for away in (old, new):
        world.partition(away, [member for member in world.hosts if member not in away])
        call = world.propose(b"x")
        world.run_for(0.5 * T)
        assert call.ended_at is None
        world.heal()
        finish(world, call)


def test_an_explicit_joint_configuration_outlives_its_leader_and_is_left_when_asked() -> None:
    world = CoreWorld(48)
    old = lead(world)
    new = world.build_member()
    target = world.list_members([1, 2, 3, new])
    finish(world, world.change_members(target, transition=Transition.EXPLICIT))
    world.crash(old)
    succeed(world, old, within_seconds=2.2 * T)
    world.run_for(2 * T)
    assert world.configuration.is_joint

    assert finish_change(world, world.leave_joint()) == target


@pytest.mark.parametrize("seed", range(50, 60))
def test_an_automatic_joint_configuration_is_left_by_the_next_leader(seed: int) -> None:
    """The leader dies as soon as a majority of old and of new members has it."""
    world = CoreWorld(seed)
    old = lead(world)
    target = world.list_members([1, 2, 3, world.build_member(), world.build_member()])
    world.run_for(0.1)
    world.change_members(target)
    world.run_until(lambda: sum(host.configuration.is_joint for host in world.hosts.values()) >= 3, within_seconds=1.0)

    world.crash(old)
    succeed(world, old, within_seconds=2.2 * T)
    world.run_until(lambda: not world.configuration.is_joint, within_seconds=2 * T, what="the end of the joint change")

    assert world.configuration == target
    write(world, b"on")


def test_a_joint_configuration_in_a_snapshot_survives_a_restart_of_all() -> None:
    world = CoreWorld(60, compaction=CompactionPolicy(snapshot_every_commands=2, keep_entries=0))
    lead(world)
    target = world.list_members([1, 2, world.build_member()])
    finish(world, world.change_members(target, transition=Transition.EXPLICIT))
    write(world, b"one", b"two", b"three", b"four")
    for member in world.running:
        world.crash(member, power_lost=True)
        world.start(member)

    lead(world)
    assert world.configuration.is_joint
    assert finish_change(world, world.leave_joint()) == target


def test_a_learner_that_was_promised_a_vote_gets_it_by_itself() -> None:
    world = CoreWorld(61)
    lead(world)
    write(world, b"one")
    new = world.build_member()

    assert finish(world, world.add_member(new, promote=True)).error is None
    world.run_until(
        lambda: world.configuration == world.list_members([1, 2, 3, new]), within_seconds=T, what="the promotion"
    )

    world.crash(followers(world)[0])
    write(world, b"two")


def test_a_learner_that_nobody_hears_makes_no_gap() -> None:
    """As a voter it would count towards a majority, and two of four are none."""
    world = CoreWorld(62)
    lead(world)
    new = world.build_member()
    world.isolate(new)
    assert finish(world, world.add_member(new, promote=True)).error is None

    world.run_for(5 * T)
    world.crash(followers(world)[0])

    write(world, b"one")
    world.heal()
    world.run_until(lambda: not world.configuration.learners, within_seconds=3 * T, what="the promotion")
