"""Linearizable reads by ReadIndex (dissertation 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.raft import reads
from raftswarm.raft.events import ReadBarrier
from raftswarm.raft.log_entry import Entry, EntryKind
from raftswarm.raft.messages import Heartbeat, HeartbeatReply, PreVoteReply, ReadIndex, ReadIndexReply, VoteReply
from raftswarm.raft.ready import ReadOutcome

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def blank(term: int) -> Entry:
    return Entry(index=1, term=term, kind=EntryKind.BLANK, first_command=1)


def confirm(sender: int, number: int, *, term: int = 1) -> HeartbeatReply:
    return HeartbeatReply(sender=sender, to=ALICE, term=term, round=number)


def test_a_read_waits_for_a_quorum_to_confirm_the_leader(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(ReadBarrier(7))
    assert bench.reads == []
    assert {message.round for message in bench.take(Heartbeat)} == {1}

    bench.receive(confirm(BOB, 1))
    assert bench.reads == [ReadOutcome(7, index=1)]


def test_an_answer_to_an_earlier_round_confirms_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(ReadBarrier(7))

    bench.receive(confirm(BOB, 0), confirm(CAROL, 0))

    assert bench.reads == []


def test_a_round_that_was_never_begun_confirms_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.receive(confirm(BOB, 99))

    bench.step(ReadBarrier(7))

    assert bench.reads == []


def test_reads_of_one_turn_share_a_round(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(ReadBarrier(1), ReadBarrier(2), ReadBarrier(3))

    assert len(bench.take(Heartbeat)) == 2


def test_a_lost_round_is_confirmed_by_the_next_heartbeat(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(ReadBarrier(1))
    bench.sent.clear()

    bench.time_out()

    (number,) = {message.round for message in bench.take(Heartbeat)}
    bench.receive(confirm(BOB, number))

    assert bench.reads == [ReadOutcome(1, index=1)]


def test_a_single_voter_answers_at_once(make_bench: MakeBench) -> None:
    bench = make_bench([ALICE])
    bench.lead()

    bench.step(ReadBarrier(1))

    assert bench.reads == [ReadOutcome(1, index=1)]


def test_a_new_leader_answers_only_after_a_commit_of_its_own_term(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.time_out()
    bench.receive(PreVoteReply(sender=BOB, to=ALICE, term=1, granted=True))
    bench.write()
    bench.receive(VoteReply(sender=BOB, to=ALICE, term=1, granted=True))
    bench.write()
    bench.step(ReadBarrier(1))
    bench.receive(confirm(BOB, 1), confirm(CAROL, 1))
    assert bench.reads == []

    bench.acknowledge(BOB)
    bench.receive(confirm(BOB, 1))

    assert bench.reads == [ReadOutcome(1, index=1)]


# On other members.


def ask_bob(bench: Bench, *tokens: int) -> list[ReadIndex]:
    """Read at a follower of Bob, and return what Bob is asked."""
    bench.follow(BOB, term=1)
    bench.step(*(ReadBarrier(token) for token in tokens))
    return bench.take(ReadIndex)


def answer(request: ReadIndex, index: int, *, term: int = 1) -> ReadIndexReply:
    return ReadIndexReply(sender=BOB, to=ALICE, term=term, number=request.number, index=index)


def test_heartbeats_of_a_new_leader_confirm_no_read_before_its_first_commit(make_bench: MakeBench) -> None:
    """They need no disk, so they are often answered before the blank entry is."""
    bench = make_bench(log=[blank(1)])
    bench.win(BOB)
    bench.step(ReadBarrier(7))

    bench.wait(0.1)
    newest = max(message.round for message in bench.take(Heartbeat))
    bench.receive(confirm(BOB, newest, term=bench.member.term), confirm(CAROL, newest, term=bench.member.term))

    assert bench.reads == []


def test_a_follower_asks_the_leader_once_for_all_reads_of_a_turn(make_bench: MakeBench) -> None:
    bench = make_bench()

    (request,) = ask_bob(bench, 1, 2)
    bench.receive(answer(request, bench.member.commit_index))

    assert request.to == BOB
    assert bench.reads == [ReadOutcome(1, index=0), ReadOutcome(2, index=0)]


def test_a_follower_answers_when_it_has_what_the_leader_had_committed(make_bench: MakeBench) -> None:
    bench = make_bench(log=[blank(1)], term=1)
    (request,) = ask_bob(bench, 1)
    bench.receive(answer(request, 1))
    assert bench.reads == []

    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=1))

    assert bench.reads == [ReadOutcome(1, index=1)]


def test_a_lost_request_is_repeated(make_bench: MakeBench) -> None:
    bench = make_bench()
    (lost,) = ask_bob(bench, 1)

    bench.time_out()
    (repeated,) = bench.take(ReadIndex)
    bench.receive(answer(repeated, 0))

    assert repeated.number > lost.number
    assert bench.now == pytest.approx(0.2)
    assert bench.reads == [ReadOutcome(1, index=0)]


def test_the_answer_to_an_earlier_request_says_nothing_of_a_later_read(make_bench: MakeBench) -> None:
    bench = make_bench()
    (first,) = ask_bob(bench, 1)
    bench.step(ReadBarrier(2))

    bench.receive(answer(first, 0))

    assert bench.reads == [ReadOutcome(1, index=0)]


def test_an_answer_to_an_earlier_start_answers_nothing(make_bench: MakeBench) -> None:
    old, new = make_bench(seed=1), make_bench(seed=2, boot=2)
    (request,) = ask_bob(old, 1)
    ask_bob(new, 1)

    new.receive(answer(request, 0))

    assert new.reads == []


def test_an_answer_of_a_deposed_leader_is_ignored(make_bench: MakeBench) -> None:
    bench = make_bench()
    (request,) = ask_bob(bench, 1)
    bench.follow(CAROL, term=2)

    bench.receive(answer(request, 0, term=1))

    assert bench.reads == []


def test_a_new_leader_is_asked_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    ask_bob(bench, 1)

    bench.receive(Heartbeat(sender=CAROL, to=ALICE, term=2, commit=0))
    bench.write()

    assert [message.to for message in bench.take(ReadIndex)] == [CAROL]


def test_without_a_leader_a_read_is_refused_in_the_end(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.step(ReadBarrier(1))

    bench.time_out_until(lambda: bool(bench.reads))

    assert bench.now == pytest.approx(3.0)
    assert bench.reads == [ReadOutcome(1, refused="no leader could answer this read for 3 s; retry")]


def test_reads_of_a_deposed_leader_go_to_the_next(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(ReadBarrier(1))

    bench.receive(Heartbeat(sender=CAROL, to=ALICE, term=5, commit=0))
    bench.write()

    assert [message.to for message in bench.take(ReadIndex)] == [CAROL]
    assert bench.reads == []


def test_reads_that_waited_for_a_leader_are_answered_by_who_becomes_it(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.step(ReadBarrier(1))
    bench.lead(BOB)
    assert bench.reads == []

    bench.receive(confirm(BOB, 1))

    assert bench.reads == [ReadOutcome(1, index=1)]


def test_a_leader_answers_requests_after_a_round_that_began_later(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.receive(
        ReadIndex(sender=BOB, to=ALICE, term=1, number=7),
        ReadIndex(sender=CAROL, to=ALICE, term=1, number=9),
    )
    assert len([m for m in bench.sent if isinstance(m, Heartbeat)]) == 2
    assert bench.take(ReadIndexReply) == []
    bench.receive(confirm(BOB, 1))

    assert [(m.to, m.number, m.index) for m in bench.take(ReadIndexReply)] == [(BOB, 7, 1), (CAROL, 9, 1)]


def test_a_stranger_is_not_answered(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.receive(ReadIndex(sender=99, to=ALICE, term=1, number=7))

    assert bench.take(Heartbeat) == []
    assert "not a member" in bench.notes[-1]


def test_everybody_reads_in_a_cluster_learners_too(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster.elect(ALICE)

    for bench in cluster.benches.values():
        bench.step(ReadBarrier(1))
    cluster.settle()

    assert [bench.reads for bench in cluster.benches.values()] == [[ReadOutcome(1, index=1)]] * 3


# Bounds.


def test_a_leader_that_can_commit_nothing_refuses_in_the_end(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(ReadBarrier(1))
    start = bench.now

    while not bench.reads:
        bench.time_out()
        bench.acknowledge(BOB)  # It is there, but all answers to heartbeats get lost.

    assert bench.now - start < 3.2
    assert "no leader could answer" in bench.reads[0].refused


def test_reads_that_wait_are_bounded(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_PENDING_READS", 2)
    bench = make_bench()
    bench.lead(BOB)

    bench.step(ReadBarrier(1), ReadBarrier(2), ReadBarrier(3))

    assert [(read.token, read.leader) for read in bench.reads] == [(3, ALICE)]
    assert "2 reads wait already" in bench.reads[0].refused
