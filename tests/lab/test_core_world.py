"""What a cluster does when things go wrong, told as scenarios in virtual time (paper 5, 6 and 7)."""

from __future__ import annotations

import errno
from functools import partial

import pytest

from raftswarm.consensus.replica import CompactionPolicy, Replica
from raftswarm.errors import NotLeader, OutcomeUnknown, Rejected
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import DiskConditions, FaultMix
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import REFUSED, Journal
from raftswarm.lab.trace import Trace
from raftswarm.raft.events import Transition, Written
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.messages import AnyMessage, AppendEntries
from raftswarm.raft.ready import Write
from raftswarm.raft.settings import RaftSettings

T = 1.0
"""The election timeout of the default settings."""


def lead(world: CoreWorld) -> int:
    """Wait for a leader."""
    world.run_until(lambda: world.leader is not None, within_seconds=4 * T, what="a first leader")
    assert world.leader is not None
    return world.leader


def succeed(world: CoreWorld, old: int, *, within_seconds: float) -> int:
    """Wait for another leader."""
    world.run_until(
        lambda: world.leader not in {None, old}, within_seconds=within_seconds, what=f"a successor of {old}"
    )
    assert world.leader is not None
    return world.leader


def finish(world: CoreWorld, call: Call, *, within_seconds: float = 5.0) -> Call:
    world.run_until(lambda: call.ended_at is not None, within_seconds=within_seconds, what="an answer")
    return call


def write(world: CoreWorld, *commands: bytes) -> None:
    """Write through the leader, and see it acknowledged."""
    calls = [world.propose(command) for command in commands]
    for call in calls:
        assert finish(world, call).error is None


def journal(world: CoreWorld, member: int) -> list[bytes]:
    machine = world.process(member).machine.machine
    assert isinstance(machine, Journal)
    return machine.last


def agree(world: CoreWorld, *commands: bytes) -> None:
    """Wait until every running member has exactly these commands."""
    world.run_until(
        lambda: all(journal(world, member) == list(commands) for member in world.running),
        within_seconds=10.0,
        what="agreement",
    )


def followers(world: CoreWorld) -> list[int]:
    return [member for member in world.running if member != world.leader]


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
