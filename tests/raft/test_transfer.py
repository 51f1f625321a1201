"""Leadership transfer (dissertation 3.10)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from raftswarm.raft.events import Receive, TimePassed, TransferLeadership
from raftswarm.raft.messages import AppendEntries, Heartbeat, HeartbeatReply, RequestVote, TimeoutNow
from raftswarm.raft.ready import TransferOutcome

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def test_a_voter_with_the_whole_log_is_told_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(TransferLeadership(BOB))

    assert [message.to for message in bench.take(TimeoutNow)] == [BOB]


def test_another_is_first_brought_up_to_date(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))
    assert bench.take(TimeoutNow) == []

    bench.acknowledge(CAROL)

    assert [message.to for message in bench.take(TimeoutNow)] == [CAROL]


def test_the_leader_chooses_the_one_with_the_best_log(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(CAROL)

    bench.step(TransferLeadership())

    assert [message.to for message in bench.take(TimeoutNow)] == [CAROL]


def test_proposals_are_refused_meanwhile(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))

    bench.propose(b"x")

    assert "being handed to member 3" in bench.proposals[-1].refused


def hand_over(bench: Bench) -> None:
    """Lead, and be asked by Carol for a vote on the leader's own wish."""
    bench.lead(BOB, CAROL)
    bench.step(TransferLeadership(CAROL))
    assert bench.member.proposal_room == 0, "while it leads"
    last_index, last_term, term = bench.member.last_index, bench.member.last_term, bench.member.term + 1
    bench.receive(
        RequestVote(sender=CAROL, to=ALICE, term=term, last_index=last_index, last_term=last_term, transfer=True)
    )
    bench.write()


def test_proposals_wait_until_the_heir_is_seen_to_lead(make_bench: MakeBench) -> None:
    bench = make_bench()
    hand_over(bench)
    assert bench.member.proposal_room == 0

    bench.member.step(Receive(Heartbeat(sender=CAROL, to=ALICE, term=bench.member.term, commit=0)), bench.now)

    assert bench.member.proposal_room == inf, "to be told who leads"


def test_proposals_do_not_wait_for_ever_for_an_heir_that_wins_no_election(make_bench: MakeBench) -> None:
    bench = make_bench()
    hand_over(bench)

    bench.member.step(TimePassed(), bench.now + 2.0)

    assert bench.member.proposal_room == inf


def test_after_t_it_leads_on(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))
    start = bench.now

    while bench.now < start + 1.0:
        bench.time_out()
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
    bench.time_out()
    bench.propose(b"x")

    assert bench.proposals[-1].refused == ""
    assert any("did not take over in time" in note for note in bench.notes)
    assert bench.member.is_leader


def test_it_goes_to_voters_only(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster.elect(ALICE)

    cluster[ALICE].step(TransferLeadership(CAROL))

    assert "not another voter" in cluster[ALICE].notes[-1]


def test_who_does_not_lead_says_so(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.step(TransferLeadership(BOB))

    assert "does not lead" in bench.notes[-1]


def test_a_cluster_changes_its_leader_without_a_timeout(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    start = cluster.now

    cluster[ALICE].step(TransferLeadership(CAROL))
    cluster.settle()

    assert [bench.member.leader for bench in cluster.benches.values()] == [CAROL, CAROL, CAROL]
    assert cluster.now == start


# How it went.


def wait_in_contact(bench: Bench, seconds: float) -> None:
    """Let time pass at a leader that Bob follows."""
    until = bench.now + seconds
    while bench.now < until and bench.member.is_leader:
        bench.time_out()
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=bench.member.term))


def test_the_heir_leads_and_who_asked_is_told(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)

    cluster[ALICE].step(TransferLeadership(CAROL, token=7))
    cluster.settle()

    assert cluster[ALICE].transfer_outcomes == [TransferOutcome(7, leader=CAROL)]


def test_an_heir_that_does_not_take_over_in_time_is_named(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL, token=7))

    wait_in_contact(bench, 1.2)

    (outcome,) = bench.transfer_outcomes
    assert (outcome.token, outcome.leader) == (7, ALICE)
    assert "member 3 did not take over in time" in outcome.failed


def test_another_than_the_heir_leads(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL, token=7))

    bench.follow(BOB, term=2)

    assert bench.transfer_outcomes == [TransferOutcome(7, BOB, "member 2 leads instead of member 3")]


def test_anybody_will_do_if_nobody_was_named(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(CAROL)
    bench.step(TransferLeadership(token=7))
    assert [message.to for message in bench.take(TimeoutNow)] == [CAROL]

    bench.follow(BOB, term=2)

    assert bench.transfer_outcomes == [TransferOutcome(7, BOB)]


def test_it_fails_when_nobody_is_seen_to_lead(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(BOB, token=7))
    start = bench.now
    bench.receive(RequestVote(sender=BOB, to=ALICE, term=2, last_index=1, last_term=1, transfer=True))

    bench.time_out_until(lambda: bool(bench.transfer_outcomes))

    assert bench.now - start <= 2.0
    assert "nobody is known to lead" in bench.transfer_outcomes[0].failed


def test_a_later_wish_takes_the_place_of_an_earlier(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(TransferLeadership(CAROL, token=7), TransferLeadership(BOB, token=8))
    bench.receive(AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1))

    assert [(o.token, o.failed) for o in bench.transfer_outcomes] == [(7, "a later wish took its place"), (8, "")]


def test_a_wish_that_cannot_be_met_fails_at_once(make_bench: MakeBench) -> None:
    follower, single, leader = make_bench(), make_bench([ALICE]), make_bench()
    follower.follow(BOB, term=1)
    single.lead()
    leader.lead(BOB)

    follower.step(TransferLeadership(CAROL, token=7))
    single.step(TransferLeadership(token=7))
    leader.step(TransferLeadership(ALICE, token=7))

    assert follower.transfer_outcomes == [TransferOutcome(7, BOB, "this member does not lead")]
    assert single.transfer_outcomes == [TransferOutcome(7, ALICE, "there is no other voter")]
    assert leader.transfer_outcomes == [TransferOutcome(7, ALICE, "member 1 is not another voter")]
