"""Lease reads and the promises of voters that they count on (dissertation 6.4.1, 4.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.raft.events import PeerStopped, ReadBarrier, TransferLeadership
from raftswarm.raft.messages import (
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from raftswarm.raft.ready import ReadOutcome
from raftswarm.raft.settings import RaftSettings

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3
T = 1.0
SETTINGS = RaftSettings(lease_reads=True, clock_drift=0.25)
LEASE = T / 1.25
LATER = 1e-6


def confirm(number: int, *, sender: int = BOB, promise_seconds: float = T) -> HeartbeatReply:
    return HeartbeatReply(sender=sender, to=ALICE, term=1, round=number, promise_seconds=promise_seconds)


def lead_with_lease(make_bench: MakeBench, settings: RaftSettings = SETTINGS) -> tuple[Bench, float]:
    """Return a leader and when the heartbeats left that Bob has just answered."""
    bench = make_bench(settings=settings)
    bench.lead(BOB)
    bench.time_out()
    sent_at = bench.now
    (number,) = {message.round for message in bench.take(Heartbeat)}
    bench.now += 0.05
    bench.receive(confirm(number))
    return bench, sent_at


def read(bench: Bench) -> bool:
    """Tell whether a read is answered at once."""
    answered = len(bench.reads)
    bench.step(ReadBarrier(7))
    return len(bench.reads) > answered


def asks_for_vote(sender: int, *, term: int, transfer: bool = False) -> RequestVote:
    return RequestVote(sender=sender, to=ALICE, term=term, last_index=9, last_term=1, transfer=transfer)


def votes(bench: Bench, request: RequestVote) -> bool:
    bench.receive(request)
    bench.write()
    return any(reply.granted for reply in bench.take(VoteReply))


# The leader.


def test_a_leader_answers_by_its_lease_without_asking_anybody(make_bench: MakeBench) -> None:
    bench, _ = lead_with_lease(make_bench)

    assert read(bench)
    assert bench.reads == [ReadOutcome(7, index=1)]
    assert bench.take(Heartbeat) == []


def test_leases_are_opt_in(make_bench: MakeBench) -> None:
    bench, _ = lead_with_lease(make_bench, RaftSettings())

    assert not read(bench)
    assert bench.take(Heartbeat)


def test_a_lease_runs_from_when_the_heartbeats_left_and_allows_for_drift(make_bench: MakeBench) -> None:
    bench, sent_at = lead_with_lease(make_bench)

    bench.now = sent_at + LEASE - LATER
    assert read(bench)
    bench.now = sent_at + LEASE
    assert not read(bench)


def test_an_answer_that_comes_late_gives_no_longer_lease(make_bench: MakeBench) -> None:
    bench, sent_at = lead_with_lease(make_bench)
    bench.now = sent_at + LEASE / 2
    bench.receive(confirm(1, sender=CAROL))

    bench.now = sent_at + LEASE

    assert not read(bench)


def test_a_lease_needs_a_quorum(make_bench: MakeBench) -> None:
    bench = make_bench([1, 2, 3, 4, 5], settings=SETTINGS)
    bench.lead(BOB, CAROL)
    bench.time_out()
    bench.receive(confirm(1))

    assert not read(bench)


def test_a_read_after_the_lease_takes_a_round(make_bench: MakeBench) -> None:
    bench, sent_at = lead_with_lease(make_bench)
    bench.now = sent_at + LEASE
    assert not read(bench)
    (number,) = {message.round for message in bench.take(Heartbeat)}

    bench.receive(confirm(number))

    assert bench.reads == [ReadOutcome(7, index=1)]


def test_followers_reads_are_answered_by_the_lease_too(make_bench: MakeBench) -> None:
    bench, _ = lead_with_lease(make_bench)

    bench.receive(ReadIndex(sender=CAROL, to=ALICE, term=1, number=5))

    assert [reply.index for reply in bench.take(ReadIndexReply)] == [1]


def test_a_leader_that_hands_over_has_no_lease_in_its_term_any_more(make_bench: MakeBench) -> None:
    bench, _ = lead_with_lease(make_bench)
    bench.step(TransferLeadership(BOB))
    assert bench.take(TimeoutNow)

    assert not read(bench)
    for _ in range(12):  # The transfer is given up, and heartbeats are answered again.
        bench.time_out()
        numbers = {message.round for message in bench.take(Heartbeat)}
        bench.receive(confirm(max(numbers)))

    assert bench.member.is_leader
    assert not read(bench)


def test_a_leader_that_has_committed_nothing_in_its_term_has_no_use_for_a_lease(make_bench: MakeBench) -> None:
    bench = make_bench(settings=SETTINGS)
    bench.time_out()
    bench.receive(PreVoteReply(sender=BOB, to=ALICE, term=1, granted=True))
    bench.write()
    bench.receive(VoteReply(sender=BOB, to=ALICE, term=1, granted=True))
    bench.time_out()
    bench.receive(confirm(1))

    assert not read(bench)


@pytest.mark.parametrize("promise_seconds", [0.0, T / 2])
def test_members_that_are_set_otherwise_cost_the_lease(make_bench: MakeBench, promise_seconds: float) -> None:
    bench, _ = lead_with_lease(make_bench)

    bench.receive(confirm(1, sender=CAROL, promise_seconds=promise_seconds))

    assert not read(bench)
    assert "set lease_reads and T alike" in bench.notes[-1]


# The voters.


@pytest.mark.parametrize(("settings", "promised"), [(SETTINGS, T), (RaftSettings(), 0.0)])
def test_a_follower_says_what_it_promises(make_bench: MakeBench, settings: RaftSettings, promised: float) -> None:
    bench = make_bench(settings=settings)

    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0))
    bench.write()

    assert [reply.promise_seconds for reply in bench.take(HeartbeatReply)] == [promised]


def test_a_voter_that_heard_a_leader_keeps_its_promise_in_later_terms(make_bench: MakeBench) -> None:
    bench = make_bench(settings=SETTINGS)
    bench.wait(T)
    bench.follow(BOB, term=1)
    bench.receive(PreVoteReply(sender=CAROL, to=ALICE, term=6, granted=False))  # An answer of long ago.
    assert bench.member.term == 6

    bench.wait(T - LATER)
    assert not votes(bench, asks_for_vote(CAROL, term=6))
    assert not votes(bench, asks_for_vote(CAROL, term=7))
    bench.wait(2 * LATER)
    assert votes(bench, asks_for_vote(CAROL, term=7))


def test_a_promise_does_not_stand_in_the_way_of_a_transfer(make_bench: MakeBench) -> None:
    bench = make_bench(settings=SETTINGS)
    bench.follow(BOB, term=1)

    assert votes(bench, asks_for_vote(CAROL, term=2, transfer=True))


@pytest.mark.parametrize("boot", [1, 2])
def test_a_voter_that_was_started_may_have_promised_before(make_bench: MakeBench, boot: int) -> None:
    bench = make_bench(settings=SETTINGS, boot=boot, term=1)

    bench.wait(T - LATER)
    assert not votes(bench, asks_for_vote(CAROL, term=2))
    bench.wait(2 * LATER)
    assert votes(bench, asks_for_vote(CAROL, term=2))


def test_a_voter_that_was_started_refuses_pre_votes_as_well(make_bench: MakeBench) -> None:
    bench = make_bench(settings=SETTINGS, term=1)

    bench.receive(PreVote(sender=CAROL, to=ALICE, term=2, last_index=9, last_term=1))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]


def test_a_single_voter_leads_at_once(make_bench: MakeBench) -> None:
    bench = make_bench([ALICE], settings=SETTINGS, boot=2, term=1)

    bench.lead()

    assert bench.now < 0.1
    assert read(bench)


def test_a_hint_breaks_no_promise(make_bench: MakeBench) -> None:
    bench = make_bench(settings=SETTINGS)
    bench.wait(T)
    bench.follow(BOB, term=1, successors=(ALICE, CAROL))
    start = bench.now

    bench.step(PeerStopped(BOB))
    bench.receive(PreVote(sender=CAROL, to=ALICE, term=2, last_index=9, last_term=1, leader_hint=BOB))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    bench.time_out_until(lambda: bool(bench.take(PreVote)))
    assert bench.now >= start + T


def test_a_cluster_with_leases_changes_its_leader_when_it_is_asked_to(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL, settings=SETTINGS)
    cluster.elect(ALICE)

    cluster[ALICE].step(TransferLeadership(CAROL))
    cluster.settle()

    assert [bench.member.leader for bench in cluster.benches.values()] == [CAROL, CAROL, CAROL]
