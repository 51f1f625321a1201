"""Changes of the members: single steps, joint configurations, learners that are promoted (dissertation 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import pytest

from raftswarm.raft.events import Propose, ReadBarrier, Receive, TransferLeadership, Transition
from raftswarm.raft.log_entry import Batch, Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.log_view import encode_configuration
from raftswarm.raft.membership import plan_change, plan_leave, promote
from raftswarm.raft.messages import AppendEntries, AppendReply, HeartbeatReply, PreVote, PreVoteReply, VoteReply
from raftswarm.raft.roles import PreCandidate
from raftswarm.raft.settings import RaftSettings

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4


def infos(*ids: int) -> tuple[MemberInfo, ...]:
    return tuple(MemberInfo(id=member) for member in ids)


def members(
    *voters: int,
    learners: Sequence[int] = (),
    outgoing: Sequence[int] = (),
    learners_next: Sequence[int] = (),
    auto_leave: bool = False,
) -> Configuration:
    return Configuration(
        voters=infos(*voters),
        learners=infos(*learners),
        outgoing=infos(*outgoing),
        learners_next=infos(*learners_next),
        auto_leave=auto_leave,
    )


THREE = members(1, 2, 3)
JOINT = members(1, 4, 5, outgoing=[1, 2, 3], auto_leave=True)
EXPLICIT = members(1, 4, 5, learners=[6], outgoing=[1, 2, 3], learners_next=[2])


def change(index: int, configuration: Configuration) -> Entry:
    data = encode_configuration(configuration)
    return Entry(index=index, term=1, kind=EntryKind.CONFIGURATION, first_command=1, data=data)


# Plans.


@pytest.mark.parametrize(
    "target",
    [
        members(1, 2, 3, 4),
        members(1, 2),
        members(1, 2, 3, learners=[4, 5]),
        members(1, 2, learners=[3]),
        members(1, 2, 3),
    ],
)
def test_one_voter_more_or_less_goes_in_a_single_step(target: Configuration) -> None:
    """Any majorities before and after have a member in common (4.1)."""
    assert plan_change(THREE, target) == target
    assert plan_change(THREE, target, Transition.SINGLE) == target


@pytest.mark.parametrize(
    ("target", "joint"),
    [
        (members(1, 2, 4), members(1, 2, 4, outgoing=[1, 2, 3], auto_leave=True)),
        (members(4, 5, learners=[6]), members(4, 5, learners=[6], outgoing=[1, 2, 3], auto_leave=True)),
        (members(1, learners=[2]), members(1, outgoing=[1, 2, 3], learners_next=[2], auto_leave=True)),
    ],
)
def test_more_voters_at_once_pass_through_a_joint_configuration(target: Configuration, joint: Configuration) -> None:
    """Old and new voters decide together, and a voter that becomes a learner votes on until that is over (4.3)."""
    assert plan_change(THREE, target) == joint
    assert plan_leave(joint) == target


def test_a_joint_change_can_be_asked_for_where_a_single_step_would_do() -> None:
    target = members(1, 2, 3, 4)

    assert plan_change(THREE, target, Transition.IMPLICIT) == members(1, 2, 3, 4, outgoing=[1, 2, 3], auto_leave=True)
    assert plan_change(THREE, target, Transition.EXPLICIT) == members(1, 2, 3, 4, outgoing=[1, 2, 3])


def test_several_voters_do_not_change_in_a_single_step() -> None:
    refused = plan_change(THREE, members(1, 4, 5), Transition.SINGLE)

    assert "4 voters would change at once" in str(refused)


def test_a_joint_configuration_is_left_for_its_new_members_and_nothing_else() -> None:
    new = members(1, 4, 5, learners=[2, 6])

    assert plan_leave(EXPLICIT) == new
    assert plan_change(EXPLICIT, new) == new
    for transition, target in product(Transition, (new, THREE, members(1, 4, 5, 7))):
        if (transition, target) != (Transition.AUTO, new):
            assert "joint change is under way" in str(plan_change(EXPLICIT, target, transition))


def test_what_is_not_joint_cannot_be_left() -> None:
    assert plan_leave(THREE) == "no joint change is under way"


def test_voters_that_are_not_there_cannot_decide_together() -> None:
    assert "without voters" in str(plan_change(Configuration(), THREE, Transition.EXPLICIT))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (members(), "needs a voter"),
        (members(learners=[1]), "needs a voter"),
        (members(1, 2, 3, learners=[3]), "member 3 is listed twice"),
        (members(1, 2, 2), "member 2 is listed twice"),
        (members(2, 1, 3), "sorted"),
        (members(1, 2, learners=[4, 3]), "sorted"),
        (members(0, 1), "positive"),
        (members(1, 2, 3, outgoing=[1]), "which voters and learners are wished"),
        (members(1, 2, 3, auto_leave=True), "which voters and learners are wished"),
        (members(1, 2, learners_next=[3]), "which voters and learners are wished"),
        (Configuration(voters=(MemberInfo(id=1, promote=True),)), "only learners"),
    ],
)
def test_members_that_make_no_sense_are_refused_with_a_reason(target: Configuration, reason: str) -> None:
    assert all(reason in str(plan_change(THREE, target, transition)) for transition in Transition)


def test_a_learner_that_is_promoted_votes() -> None:
    learners = (MemberInfo(id=2, name="bob", promote=True), MemberInfo(id=4))
    old = Configuration(voters=(MemberInfo(id=1), MemberInfo(id=3)), learners=learners)

    assert promote(old, BOB) == Configuration(
        voters=(MemberInfo(id=1), MemberInfo(id=2, name="bob"), MemberInfo(id=3)), learners=(MemberInfo(id=4),)
    )


# Single steps.


def test_a_change_is_in_force_when_it_is_appended(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.change_members(members(1, 2, 3, 4))

    assert bench.member.configuration.member_ids == (1, 2, 3, 4)
    bench.write()
    bench.acknowledge(BOB)
    assert bench.member.commit_index == 1  # Two of four are no majority.
    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 2


def test_a_new_member_is_sent_entries_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.sent.clear()

    bench.change_members(members(1, 2, 3, learners=[DAVE]))

    assert DAVE in {message.to for message in bench.take(AppendEntries)}


def test_a_second_change_waits_for_the_first(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2, 3, learners=[DAVE]))

    refused = bench.change_members(members(1, 2, 3, 4))

    assert "not committed yet" in refused.refused
    assert refused.leader == ALICE


def test_a_leader_changes_nothing_before_it_has_committed_in_its_term(make_bench: MakeBench) -> None:
    """Single-server changes are unsafe without this (raft-dev, 2015)."""
    bench = make_bench([ALICE])
    bench.time_out()
    bench.write(1)
    assert bench.member.is_leader

    outcome = bench.change_members(members(1, 2))

    assert "committed nothing in its term" in outcome.refused


def test_who_does_not_lead_refuses_a_change(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    outcome = bench.change_members(members(1, 2))

    assert (outcome.refused, outcome.leader) == ("this member does not lead", BOB)


def test_learners_get_everything_and_count_for_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster.elect(ALICE)
    cluster.isolate(BOB)
    cluster[ALICE].propose(b"x")
    cluster.settle()

    assert cluster[CAROL].member.last_index == 2
    assert cluster[ALICE].member.commit_index == 1


def test_a_change_is_undone_with_its_entry(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2, 3, 4))
    other = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1)

    bench.receive(
        AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=(other,), commit=0)
    )

    assert bench.member.configuration.member_ids == (1, 2, 3)


def test_a_leader_that_is_removed_leads_until_that_is_committed_and_hands_over(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    start = cluster.now

    cluster[ALICE].change_members(members(2, 3))
    assert cluster[ALICE].member.is_leader
    cluster.settle()

    assert not cluster[ALICE].member.is_leader
    assert cluster[BOB].member.is_leader
    assert cluster.now == start  # Nobody had to wait for a timeout.


def test_a_removed_leader_does_not_count_itself(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()

    bench.acknowledge(BOB)
    assert bench.member.commit_index == 1

    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 2


def test_a_cluster_grows_from_one_to_three_and_a_joiner_needs_no_configuration(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE)
    cluster.elect(ALICE)
    for joiner in (BOB, CAROL):
        cluster.benches[joiner] = cluster.join(joiner)
        grown = members(*range(1, joiner + 1))
        assert cluster[ALICE].change_members(grown).refused == ""
        cluster.settle()

    assert [bench.member.commit_index for bench in cluster.benches.values()] == [3, 3, 3]
    cluster.elect(CAROL)
    assert cluster[CAROL].member.configuration == members(1, 2, 3)


def test_who_is_removed_by_an_uncommitted_change_may_still_campaign(make_bench: MakeBench) -> None:
    """Its log may be the only one with what was committed, so that nobody else could win (4.2.2)."""
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()
    bench.time_out_until(lambda: not bench.member.is_leader)
    bench.sent.clear()

    bench.time_out()

    assert [request.to for request in bench.take(PreVote)] == [BOB, CAROL]


def test_who_is_removed_for_good_stays_passive(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()
    bench.acknowledge(BOB)
    bench.acknowledge(CAROL)
    bench.sent.clear()

    bench.wait(100.0)

    assert not bench.member.is_leader
    assert bench.take(PreVote) == []


def test_who_is_removed_learns_of_it_and_stays_passive(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)

    cluster[ALICE].change_members(members(1, 2))
    cluster.settle()
    cluster[ALICE].propose(b"x")
    cluster.settle()

    carol = cluster[CAROL].member
    assert carol.configuration == members(1, 2)
    assert carol.commit_index == 2
    assert carol.last_index == 2  # Of what comes then it hears nothing more.
    assert CAROL not in cluster[ALICE].member.progress
    cluster[CAROL].wait(100.0)
    assert cluster[CAROL].take(PreVote) == []


def test_who_is_removed_does_not_count(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2))
    bench.write()

    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 1
    bench.acknowledge(BOB)

    assert bench.member.commit_index == 2


# Joint configurations (4.3).


def test_a_joint_configuration_commits_with_a_majority_of_old_and_new(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.change_members(members(1, 4, 5))
    bench.write()
    bench.acknowledge(4)
    assert bench.member.commit_index == 1  # Of the old voters only Alice has it.
    bench.acknowledge(BOB)

    assert bench.member.commit_index == 2


def test_the_old_majority_alone_commits_nothing_in_a_joint_configuration(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.change_members(members(1, 4, 5))
    bench.write()
    bench.acknowledge(BOB)
    bench.acknowledge(CAROL)

    assert bench.member.commit_index == 1


def test_a_joint_configuration_is_left_as_soon_as_it_is_committed_and_not_earlier(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.change_members(members(1, 4, 5, learners=[BOB]))
    joint = members(1, 4, 5, outgoing=[1, 2, 3], learners_next=[2], auto_leave=True)
    bench.write()
    bench.acknowledge(4)
    assert bench.member.configuration == joint
    bench.acknowledge(BOB)

    assert bench.member.configuration == members(1, 4, 5, learners=[BOB])
    assert bench.member.last_index == 3
    bench.write()
    bench.acknowledge(4)
    assert bench.member.commit_index == 3  # The old voters are not asked any more.


def test_a_full_tail_does_not_keep_a_joint_configuration_from_being_left(make_bench: MakeBench) -> None:
    """Or a busy leader would never find room for the entry that leaves it."""
    bench = make_bench(settings=RaftSettings(uncommitted_bytes=10))
    bench.lead(BOB)
    bench.change_members(members(1, 4, 5))
    bench.write()
    bench.acknowledge(4, 2)

    busy = Propose(7, Batch(1, bytes(1000)), 0)
    acknowledged = AppendReply(sender=BOB, to=ALICE, term=1, success=True, match_index=2)
    bench.step(Receive(acknowledged), busy)

    assert bench.proposals[-1].index == 3
    assert bench.member.configuration == members(1, 4, 5)


def test_an_explicit_joint_configuration_stays_until_its_new_members_are_proposed(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 4, 5), Transition.EXPLICIT)
    bench.write()
    bench.acknowledge(4)
    bench.acknowledge(BOB)
    bench.wait(0.1)
    assert bench.member.configuration == members(1, 4, 5, outgoing=[1, 2, 3])

    assert "joint change is under way" in bench.change_members(members(1, 4, 5, 6)).refused
    assert bench.change_members(members(1, 4, 5)).refused == ""

    assert bench.member.configuration == members(1, 4, 5)


def test_whoever_leads_next_leaves_an_automatic_joint_configuration(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, JOINT)], term=1)

    bench.win(BOB, 4)
    assert bench.member.configuration == JOINT  # It does not know yet that the change is committed.
    bench.acknowledge(BOB)
    bench.acknowledge(4)

    assert bench.terms == [1, 2, 2]
    assert bench.member.configuration == members(1, 4, 5)


def test_a_joint_configuration_is_not_left_twice(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, JOINT)], term=1)
    bench.win(BOB, 4)
    bench.acknowledge(BOB)
    bench.acknowledge(4)

    bench.wait(0.1)
    bench.acknowledge(4)

    assert bench.terms == [1, 2, 2]


def test_a_leader_that_hands_over_leaves_it_to_its_successor_to_leave(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 4, 5))
    bench.step(TransferLeadership(BOB))
    bench.write()
    bench.acknowledge(4)
    bench.acknowledge(BOB)
    assert bench.member.commit_index == 2
    assert bench.member.configuration.is_joint

    bench.now += 1.0
    bench.acknowledge(BOB)
    bench.acknowledge(4)
    bench.wait(0.1)  # Nobody took over.

    assert bench.member.configuration == members(1, 4, 5)


def test_an_election_needs_a_majority_of_old_and_of_new(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, JOINT)], term=1)
    bench.time_out()
    bench.receive(*(PreVoteReply(sender=peer, to=ALICE, term=2, granted=True) for peer in (BOB, CAROL)))
    assert isinstance(bench.member.role, PreCandidate)
    bench.receive(PreVoteReply(sender=5, to=ALICE, term=2, granted=True))
    bench.write()

    bench.receive(*(VoteReply(sender=peer, to=ALICE, term=2, granted=True) for peer in (4, 5)))
    assert not bench.member.is_leader
    bench.receive(VoteReply(sender=CAROL, to=ALICE, term=2, granted=True))

    assert bench.member.is_leader


def test_a_read_is_confirmed_by_a_majority_of_old_and_of_new(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, EXPLICIT)], term=1)
    bench.win(BOB, 4)
    bench.acknowledge(BOB)
    bench.acknowledge(4)
    bench.step(ReadBarrier(7))

    bench.receive(HeartbeatReply(sender=4, to=ALICE, term=2, round=1))
    assert bench.reads == []
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=2, round=1))

    assert [read.token for read in bench.reads] == [7]


def test_a_leader_that_hears_the_new_voters_only_steps_down(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, EXPLICIT)], term=1)
    bench.win(BOB, 4)

    for _ in range(11):
        bench.wait(0.1)
        bench.receive(*(HeartbeatReply(sender=peer, to=ALICE, term=2) for peer in (4, 5)))

    assert not bench.member.is_leader


def test_a_joint_change_is_undone_with_its_entry(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(4, 5))
    other = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1)

    bench.receive(AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=(other,)))

    assert bench.member.configuration == THREE


def test_a_leave_that_was_not_committed_is_undone_with_its_entry(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, JOINT), change(2, members(1, 4, 5))], term=1)
    other = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1)

    bench.receive(AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=(other,)))

    assert bench.member.configuration == JOINT


def test_a_snapshot_in_a_joint_configuration_carries_it(make_bench: MakeBench) -> None:
    bench = make_bench(log=[change(1, EXPLICIT)], term=1)
    bench.win(BOB, 4)
    bench.acknowledge(BOB)
    bench.acknowledge(4)

    assert bench.save_snapshot().configuration == EXPLICIT
    assert bench.member.configuration == EXPLICIT


def test_a_leader_that_is_replaced_leads_until_the_joint_configuration_is_left(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster.benches[DAVE] = cluster.join(DAVE)
    start = cluster.now

    cluster[ALICE].change_members(members(2, 4))
    cluster.settle()

    assert not cluster[ALICE].member.is_leader
    leaders = [member for member in (BOB, DAVE) if cluster[member].member.is_leader]
    assert len(leaders) == 1
    assert cluster[leaders[0]].member.configuration == members(2, 4)
    assert cluster.now == start  # Nobody had to wait for a timeout.


def test_a_demoted_leader_steps_down_and_learns_on(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)

    cluster[ALICE].change_members(members(3, learners=[1, 2]))
    cluster.settle()
    cluster[CAROL].propose(b"x")
    cluster.settle()

    assert cluster[CAROL].member.is_leader
    assert cluster[ALICE].member.commit_index == cluster[CAROL].member.commit_index


def test_who_was_left_behind_by_a_joint_change_does_not_disturb(make_cluster: MakeCluster) -> None:
    """It never heard that it was removed; pre-votes and stickiness keep it from deposing anybody (4.2.3, 9.6)."""
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    for joiner in (4, 5):
        cluster.benches[joiner] = cluster.join(joiner)
    cluster.isolate(CAROL)
    cluster[ALICE].change_members(members(1, 4, 5))
    cluster.settle()
    cluster.heal()

    cluster.wait(5.0)

    assert cluster[ALICE].member.is_leader
    assert cluster[ALICE].member.term == 1
    refused = cluster[CAROL].change_members(members(1, 2, 3))
    assert refused.refused == "this member does not lead"


# Learners that are to become voters (4.2.1).


def learner(member: int) -> Configuration:
    return Configuration(voters=infos(1, 2, 3), learners=(MemberInfo(id=member, promote=True),))


def beat(bench: Bench, *peers: int) -> None:
    """A heartbeat, and the answers of those who are there."""
    bench.wait(0.1)
    bench.write()
    for peer in peers:
        bench.acknowledge(peer)


def test_a_learner_is_promoted_once_it_has_caught_up(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(learner(DAVE))
    bench.write()
    beat(bench, BOB)
    assert bench.member.configuration == learner(DAVE)

    beat(bench, BOB, DAVE)

    assert bench.member.configuration == members(1, 2, 3, 4)


def test_a_learner_that_is_to_stay_one_is_not_promoted(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2, 3, learners=[DAVE]))

    for _ in range(5):
        beat(bench, BOB, DAVE)

    assert bench.member.configuration == members(1, 2, 3, learners=[DAVE])


def test_a_round_that_takes_an_election_timeout_is_followed_by_another(make_bench: MakeBench) -> None:
    """What came in meanwhile is then less, until a round is short enough."""
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(learner(DAVE))
    for _ in range(10):
        beat(bench, BOB)
        bench.propose(b"x")
    bench.acknowledge(DAVE, 2)  # As far as the log went when the first round began.
    assert bench.member.configuration == learner(DAVE)

    beat(bench, BOB)
    bench.acknowledge(DAVE, 11)
    assert bench.member.configuration == learner(DAVE)
    beat(bench, BOB, DAVE)

    assert bench.member.configuration == members(1, 2, 3, 4)


def test_a_learner_that_has_everything_and_falls_silent_is_not_promoted(make_bench: MakeBench) -> None:
    """Its vote would be missing from the first commit on."""
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(learner(DAVE))
    bench.write()
    bench.acknowledge(DAVE)  # In the same moment: whether it is still there is not known.
    bench.acknowledge(BOB)

    for _ in range(20):
        beat(bench, BOB)
    assert bench.member.configuration == learner(DAVE)
    beat(bench, BOB, DAVE)
    assert bench.member.configuration == learner(DAVE)  # That round was long.
    beat(bench, BOB, DAVE)

    assert bench.member.configuration == members(1, 2, 3, 4)


def test_a_promotion_waits_for_the_change_under_way(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(learner(DAVE))
    bench.write()
    for _ in range(3):
        bench.wait(0.1)
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
        bench.acknowledge(DAVE)
    assert bench.member.configuration == learner(DAVE)

    bench.acknowledge(BOB)
    beat(bench, BOB, DAVE)

    assert bench.member.configuration == members(1, 2, 3, 4)


def test_learners_are_promoted_one_after_another(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    both = (MemberInfo(id=4, promote=True), MemberInfo(id=5, promote=True))
    bench.change_members(Configuration(voters=infos(1, 2, 3), learners=both))
    voters = [len(bench.member.configuration.voters)]
    for _ in range(6):
        beat(bench, BOB, CAROL, 4, 5)
        voters.append(len(bench.member.configuration.voters))

    assert sorted(set(voters)) == [3, 4, 5]
    assert bench.member.configuration == members(1, 2, 3, 4, 5)


def test_a_new_leader_begins_the_rounds_anew(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster[ALICE].change_members(learner(DAVE))
    cluster.settle()
    cluster.elect(BOB)
    cluster.benches[DAVE] = cluster.join(DAVE)
    cluster.connect()

    cluster.wait(1.0)

    assert cluster[DAVE].member.configuration == members(1, 2, 3, 4)


def test_nobody_is_promoted_in_an_explicit_joint_configuration(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(learner(DAVE), Transition.EXPLICIT)

    for _ in range(5):
        beat(bench, BOB, DAVE)

    assert bench.member.configuration.is_joint
    assert [info.id for info in bench.member.configuration.learners] == [DAVE]
