"""Elections (5.2, 5.4.1), pre-vote (9.6), stickiness (4.2.3), check-quorum (6.2) and hints (docs/raft.md)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from raftswarm.raft.events import PeerStopped, TimePassed
from raftswarm.raft.log_entry import Entry, EntryKind, HardState
from raftswarm.raft.messages import (
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from raftswarm.raft.roles import Candidate, Follower, PreCandidate
from raftswarm.raft.settings import RaftSettings

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def log_of(*terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in enumerate(terms, start=1)
    )


def request_vote(
    sender: int, *, term: int, last: tuple[int, int] = (0, 0), transfer: bool = False, hint: int = 0
) -> RequestVote:
    return RequestVote(
        sender=sender,
        to=ALICE,
        term=term,
        last_term=last[0],
        last_index=last[1],
        transfer=transfer,
        leader_hint=hint,
    )


def pre_vote(sender: int, *, term: int, last: tuple[int, int] = (0, 0), hint: int = 0) -> PreVote:
    return PreVote(sender=sender, to=ALICE, term=term, last_term=last[0], last_index=last[1], leader_hint=hint)


def granted(sender: int, *, term: int) -> VoteReply:
    return VoteReply(sender=sender, to=ALICE, term=term, granted=True)


def pre_granted(sender: int, *, term: int) -> PreVoteReply:
    return PreVoteReply(sender=sender, to=ALICE, term=term, granted=True)


# Votes.


def test_a_vote_is_given_once_per_term(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(request_vote(BOB, term=1), request_vote(CAROL, term=1))
    bench.write()

    assert [(reply.to, reply.granted) for reply in bench.take(VoteReply)] == [(BOB, True), (CAROL, False)]
    assert bench.disk.hard_state == HardState(term=1, voted_for=BOB)


def test_the_same_candidate_may_ask_again(make_bench: MakeBench) -> None:
    bench = make_bench(term=1, voted_for=BOB)

    bench.receive(request_vote(BOB, term=1))

    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_a_vote_leaves_only_when_it_is_on_disk(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(request_vote(BOB, term=1))
    assert bench.take(VoteReply) == []

    bench.write()
    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_a_refusal_tells_no_term_that_could_be_forgotten(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1))

    bench.receive(request_vote(BOB, term=5))
    assert bench.sent == []

    bench.write()
    assert [(reply.term, reply.granted) for reply in bench.take(VoteReply)] == [(5, False)]


@pytest.mark.parametrize(
    ("last", "deserves"), [((2, 2), True), ((2, 1), False), ((3, 1), True), ((1, 9), False), ((2, 3), True)]
)
def test_only_a_log_as_good_as_ours_gets_the_vote(
    make_bench: MakeBench, last: tuple[int, int], *, deserves: bool
) -> None:
    bench = make_bench(log=log_of(1, 2), term=2)

    bench.receive(request_vote(BOB, term=4, last=last))
    bench.write()

    assert [reply.granted for reply in bench.take(VoteReply)] == [deserves]


def test_a_vote_survives_a_restart(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster[ALICE].receive(request_vote(BOB, term=1))
    cluster[ALICE].write()
    cluster.restart(ALICE)
    cluster.connect()

    cluster[ALICE].receive(request_vote(CAROL, term=1))
    cluster[ALICE].write()

    assert [reply.granted for reply in cluster[ALICE].take(VoteReply)] == [False]


# Candidates.


def test_a_single_voter_leads_at_once(make_bench: MakeBench) -> None:
    bench = make_bench([ALICE])

    assert bench.member.next_deadline == 0.0
    bench.time_out()
    assert not bench.member.is_leader
    bench.write()

    assert bench.member.is_leader
    assert bench.member.commit_index == 1


def test_who_is_in_no_configuration_stays_passive(make_bench: MakeBench) -> None:
    bench = make_bench([])
    bench.wait(100.0)

    assert bench.member.next_deadline == float("inf")
    assert bench.sent == []


def test_a_learner_never_campaigns(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster[CAROL].wait(100.0)

    assert cluster[CAROL].take(PreVote) == []
    assert cluster[CAROL].member.next_deadline == float("inf")


def test_timeouts_lie_between_t_and_2t_and_differ(make_bench: MakeBench) -> None:
    deadlines = {make_bench(seed=seed).member.next_deadline for seed in range(50)}

    assert len(deadlines) == 50
    assert 1.0 <= min(deadlines) < 1.2
    assert 1.8 < max(deadlines) < 2.0


def test_a_pre_vote_spends_no_term(make_bench: MakeBench) -> None:
    bench = make_bench(term=4)
    bench.time_out()
    bench.time_out()

    assert [request.term for request in bench.take(PreVote)] == [5, 5, 5, 5]
    assert bench.member.hard_state == HardState(term=4)
    assert not bench.disk.waiting


def test_with_pre_votes_of_a_majority_it_asks_for_votes_once_its_own_is_on_disk(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.time_out()

    bench.receive(pre_granted(BOB, term=1))
    assert isinstance(bench.member.role, Candidate)
    assert bench.take(RequestVote) == []

    bench.write()
    assert [(request.to, request.term) for request in bench.take(RequestVote)] == [(BOB, 1), (CAROL, 1)]
    assert bench.disk.hard_state == HardState(term=1, voted_for=ALICE)


def test_its_own_vote_counts_only_when_it_is_on_disk(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.time_out()
    bench.receive(pre_granted(BOB, term=1))

    bench.receive(granted(BOB, term=1))
    assert not bench.member.is_leader

    bench.write()
    assert bench.member.is_leader


def test_a_late_vote_does_not_count_in_the_next_term(make_bench: MakeBench) -> None:
    bench = make_bench()
    for _ in range(2):
        bench.time_out()
        bench.time_out()
        bench.receive(pre_granted(BOB, term=bench.member.term + 1))
        bench.write()

    bench.receive(granted(BOB, term=1))

    assert bench.member.term == 2
    assert isinstance(bench.member.role, Candidate)


def test_a_pre_vote_for_another_term_does_not_count(make_bench: MakeBench) -> None:
    bench = make_bench(term=3)
    bench.time_out()

    bench.receive(pre_granted(BOB, term=3))

    assert isinstance(bench.member.role, PreCandidate)


def test_a_refusal_from_a_later_term_leads_there(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.time_out()

    bench.receive(PreVoteReply(sender=BOB, to=ALICE, term=7, granted=False))

    assert isinstance(bench.member.role, Follower)
    assert bench.member.term == 7


def test_a_candidate_follows_whoever_won(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.time_out()
    bench.receive(pre_granted(BOB, term=1))
    bench.write()

    bench.follow(CAROL, term=1)

    assert bench.member.leader == CAROL


def test_three_members_elect_one_leader_and_tell(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)

    cluster.elect(BOB)

    assert [bench.member.leader for bench in cluster.benches.values()] == [BOB, BOB, BOB]
    assert [bench.leaderships[-1].is_leader for bench in cluster.benches.values()] == [False, True, False]


def test_two_of_five_elect_nobody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, 2, 3, 4, 5)
    cluster.isolate(1, 2)

    cluster.wait(10.0)

    assert not cluster[1].member.is_leader
    assert not cluster[2].member.is_leader
    assert cluster[1].member.term == 0


# Stickiness and check-quorum.


def test_who_hears_a_leader_gives_neither_pre_vote_nor_vote(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.now += 0.99

    bench.receive(pre_vote(CAROL, term=2), request_vote(CAROL, term=2))
    bench.write()

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    assert bench.member.term == 1


def test_after_t_without_its_leader_it_votes(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.now += 1.0

    bench.receive(pre_vote(CAROL, term=2))
    assert [reply.granted for reply in bench.take(PreVoteReply)] == [True]
    bench.receive(request_vote(CAROL, term=2))
    bench.write()

    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_a_candidate_that_the_leader_asked_is_voted_for(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.receive(request_vote(CAROL, term=2, transfer=True))
    bench.write()

    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_a_leader_without_a_quorum_steps_down_after_t(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    start = bench.now

    bench.time_out_until(lambda: not bench.member.is_leader)

    assert 1.0 <= bench.now - start <= 1.2


def test_a_leader_with_a_quorum_leads_on(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    for _ in range(50):
        bench.time_out()
        bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))

    assert bench.member.is_leader


def test_a_member_that_returns_from_a_partition_disturbs_nobody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster.isolate(CAROL)
    cluster.wait(10.0)

    cluster.heal()
    cluster.wait(1.0)

    assert [bench.member.leader for bench in cluster.benches.values()] == [ALICE, ALICE, ALICE]
    assert {bench.member.term for bench in cluster.benches.values()} == {1}


def test_a_deposed_leader_learns_of_it(make_bench: MakeBench) -> None:
    bench = make_bench(term=3)

    bench.receive(
        Heartbeat(sender=BOB, to=ALICE, term=2, commit=0),
        AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=0, previous_term=0),
    )

    assert [reply.term for reply in bench.take(HeartbeatReply)] == [3, 3]


# A silent leader.


def test_a_split_election_is_repeated_soon_without_waiting_for_the_silent_leader_s_vote(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.time_out()
    bench.receive(pre_granted(CAROL, term=2))
    bench.write()
    assert isinstance(bench.member.role, Candidate)

    bench.receive(VoteReply(sender=CAROL, to=ALICE, term=2, granted=False))

    assert isinstance(bench.member.role, Follower)
    assert 0.1 <= bench.member.next_deadline - bench.now <= 0.2


def test_who_has_the_better_log_campaigns_once_a_worse_one_has_asked_in_vain(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1))
    bench.follow(BOB, term=1)
    bench.now = 1.0

    bench.receive(pre_vote(CAROL, term=2))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    assert bench.member.next_deadline - bench.now <= 0.005


def test_who_hears_the_leader_does_not_campaign_because_a_worse_log_asks(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1))
    bench.follow(BOB, term=1)

    bench.receive(pre_vote(CAROL, term=2))

    assert bench.member.next_deadline >= 1.0


def test_two_that_lose_patience_at_the_same_moment_elect_one_at_once(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    del cluster.benches[ALICE]
    now = cluster.now + 2.0

    for bench in cluster.benches.values():
        bench.now = now
        bench.wait(0.0)
    cluster.settle()

    assert [bench.member.is_leader for bench in cluster.benches.values()] == [True, False]


# Hints.


def test_a_hint_brings_a_pre_vote_within_milliseconds_in_the_order_of_successors(make_bench: MakeBench) -> None:
    waits = []
    for member_id in (2, 3, 4):
        bench = make_bench((1, 2, 3, 4), member_id=member_id)
        bench.follow(1, term=1, successors=(3, 4))
        bench.step(PeerStopped(1))
        waits.append(bench.member.next_deadline)
        bench.time_out()
        assert {request.leader_hint for request in bench.take(PreVote)} == {1}

    last, first, second = waits
    assert first == 0.0
    assert 0.01 <= second <= 0.015
    assert 0.02 <= last <= 0.025


def test_without_an_order_the_configuration_gives_one(make_bench: MakeBench) -> None:
    waits = []
    for member_id in (2, 3, 4):
        bench = make_bench((1, 2, 3, 4), member_id=member_id)
        bench.receive(Heartbeat(sender=1, to=member_id, term=1, commit=0))  # It has replicated nothing yet.
        bench.step(PeerStopped(1))
        waits.append(bench.member.next_deadline)

    first, second, third = waits
    assert first == 0.0
    assert 0.01 <= second <= 0.015
    assert 0.02 <= third <= 0.025


def test_who_hears_of_a_stop_while_it_asks_already_asks_again_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(CAROL, term=1)
    bench.time_out()
    bench.sent.clear()

    bench.step(PeerStopped(CAROL), TimePassed())

    assert {request.leader_hint for request in bench.take(PreVote)} == {CAROL}


def test_only_the_leader_that_stopped_is_a_hint(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1, successors=(ALICE, CAROL))

    bench.step(PeerStopped(CAROL))

    assert bench.member.next_deadline >= 1.0


def test_a_hint_alone_is_not_believed(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.receive(pre_vote(CAROL, term=2, hint=BOB), request_vote(CAROL, term=2, hint=BOB))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    assert bench.member.term == 1


def test_whoever_comes_to_share_a_hint_answers_again_without_being_asked(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1, successors=(CAROL, ALICE))
    bench.receive(pre_vote(CAROL, term=2, hint=BOB))
    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]

    bench.step(PeerStopped(BOB))

    assert [(reply.to, reply.granted) for reply in bench.take(PreVoteReply)] == [(CAROL, True)]
    assert bench.member.next_deadline >= 0.02, "it leaves Carol the time to win"


def test_a_question_from_before_a_sign_of_life_is_not_answered_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.receive(pre_vote(CAROL, term=2, hint=BOB))
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0))
    bench.sent.clear()

    bench.step(PeerStopped(BOB))

    assert bench.take(PreVoteReply) == []


def test_a_question_about_an_earlier_leader_is_not_answered_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(CAROL, term=2)
    bench.receive(pre_vote(BOB, term=2, hint=ALICE))
    bench.sent.clear()

    bench.step(PeerStopped(CAROL))

    assert bench.take(PreVoteReply) == []


def test_the_better_log_does_not_wait_for_its_place_once_a_worse_one_has_asked(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1))
    bench.follow(BOB, term=1, successors=(CAROL, ALICE))
    bench.step(PeerStopped(BOB))
    assert bench.member.next_deadline >= 0.01

    bench.receive(pre_vote(CAROL, term=2, hint=BOB))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    assert bench.member.next_deadline <= 0.005


@pytest.mark.parametrize("has_hint", [True, False])
@pytest.mark.parametrize(
    ("member_id", "other", "log", "gives_way"),
    [
        (BOB, CAROL, (1, 1), False),
        (BOB, CAROL, (1, 1, 1), True),
        (CAROL, BOB, (1,), False),
        (CAROL, BOB, (1, 1), True),
    ],
)
def test_of_two_who_ask_at_once_the_better_log_goes_on_and_of_equal_ones_the_lower_id(
    make_bench: MakeBench, member_id: int, other: int, log: tuple[int, ...], *, gives_way: bool, has_hint: bool
) -> None:
    bench = make_bench(member_id=member_id, log=log_of(1, 1))
    bench.follow(ALICE, term=1)
    if has_hint:
        bench.step(PeerStopped(ALICE))
    bench.time_out()
    assert isinstance(bench.member.role, PreCandidate)

    bench.receive(
        PreVote(
            sender=other,
            to=member_id,
            term=2,
            last_term=log[-1],
            last_index=len(log),
            leader_hint=ALICE if has_hint else 0,
        ),
        PreVoteReply(sender=other, to=member_id, term=2, granted=True),
    )

    assert isinstance(bench.member.role, Follower if gives_way else Candidate)
    if gives_way:
        assert bench.member.next_deadline - bench.now <= 0.2, "should the other one fail"


def test_a_false_alarm_of_one_deposes_nobody_whom_the_others_hear(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    term = cluster[ALICE].member.term

    cluster[BOB].step(PeerStopped(ALICE))  # He comes first in the order, and asks at once.
    cluster.wait(2.0)

    assert cluster[ALICE].member.is_leader
    assert [(bench.member.term, bench.member.leader) for bench in cluster.benches.values()] == [(term, ALICE)] * 3


def test_two_who_share_a_hint_elect_without_waiting(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.step(PeerStopped(BOB))

    bench.receive(pre_vote(CAROL, term=2, hint=BOB))
    assert [reply.granted for reply in bench.take(PreVoteReply)] == [True]
    bench.receive(request_vote(CAROL, term=2, hint=BOB))
    bench.write()

    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_a_hint_ends_when_the_leader_is_heard_from(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.step(PeerStopped(BOB))
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0))

    bench.receive(pre_vote(CAROL, term=2, hint=BOB))

    assert [reply.granted for reply in bench.take(PreVoteReply)] == [False]
    assert bench.member.next_deadline >= 1.0


def test_with_a_hint_pre_votes_are_retried_soon_until_it_is_stale(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.step(PeerStopped(BOB))
    moments = []
    for _ in range(100):
        bench.time_out()
        moments.append(bench.now)
        if bench.now >= 1.0:
            break

    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(0.02 <= gap <= 0.04 for gap in gaps[:-1])
    assert len(moments) > 20
    assert bench.member.next_deadline - bench.now >= 1.0


def test_a_split_election_after_a_hint_is_repeated_soon(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.step(PeerStopped(BOB))
    for term in (2, 3):
        bench.time_out()
        bench.receive(pre_granted(CAROL, term=term))
        bench.write()

        bench.receive(VoteReply(sender=CAROL, to=ALICE, term=term, granted=False))

        assert isinstance(bench.member.role, Follower)
        assert bench.member.next_deadline - bench.now <= 0.04


def test_a_cluster_replaces_a_stopped_leader_within_a_hundredth_of_the_timeout(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    start = cluster.now
    for bench in cluster.benches.values():
        bench.now = start
    del cluster.benches[ALICE]

    for bench in cluster.benches.values():
        bench.step(PeerStopped(ALICE))
    cluster.wait(0.01)

    assert any(bench.member.is_leader for bench in cluster.benches.values())


# Transfer's other side, and peers that misbehave.


def test_told_by_its_leader_it_campaigns_without_pre_vote(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.receive(TimeoutNow(sender=BOB, to=ALICE, term=1))
    bench.write()

    assert [(request.term, request.transfer) for request in bench.take(RequestVote)] == [(2, True), (2, True)]


def test_nobody_but_its_leader_may_tell_it_so(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.receive(TimeoutNow(sender=CAROL, to=ALICE, term=1))

    assert isinstance(bench.member.role, Follower)
    assert "only our leader may ask that" in bench.notes[-1]


def test_a_second_leader_in_a_term_is_dropped_with_a_note(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.receive(Heartbeat(sender=CAROL, to=ALICE, term=1, commit=0))

    assert bench.member.leader == BOB
    assert bench.take(HeartbeatReply) == []
    assert "member 2 leads this term" in bench.notes[-1]


def test_a_leader_drops_whoever_claims_its_term(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.receive(Heartbeat(sender=CAROL, to=ALICE, term=1, commit=0))

    assert bench.member.is_leader
    assert "leads that term itself" in bench.notes[-1]


def test_what_is_for_somebody_else_is_dropped_with_a_note(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(RequestVote(sender=BOB, to=CAROL, term=9, last_index=0, last_term=0))

    assert bench.member.term == 0
    assert "it is for member 3" in bench.notes[-1]


def test_without_pre_votes_a_timeout_begins_a_term(make_bench: MakeBench) -> None:
    bench = make_bench(settings=RaftSettings(pre_vote=False))

    bench.time_out()
    bench.write()
    bench.time_out()
    bench.write()

    assert isinstance(bench.member.role, Candidate)
    assert bench.member.term == 2
    assert [request.term for request in bench.take(RequestVote)] == [1, 1, 2, 2]


def test_without_check_quorum_nobody_is_sticky_and_a_leader_stays(make_bench: MakeBench) -> None:
    bench = make_bench(settings=RaftSettings(check_quorum=False))
    bench.lead(2)

    bench.wait(60)

    assert bench.member.is_leader
    request = RequestVote(sender=3, to=1, term=5, last_index=9, last_term=4)
    bench.receive(request)
    bench.write()
    assert bench.take(VoteReply)[-1].granted
