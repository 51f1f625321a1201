"""Linearizable reads by ReadIndex (dissertation 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft import reads
from raftswarm.raft.events import ReadBarrier
from raftswarm.raft.messages import Heartbeat, HeartbeatReply, PreVoteReply, VoteReply
from raftswarm.raft.ready import ReadOutcome

if TYPE_CHECKING:
    import pytest

    from tests.raft.conftest import MakeBench

ALICE, BOB, CAROL = 1, 2, 3


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

    assert {message.round for message in bench.take(Heartbeat)} == {1}


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


def test_a_follower_refuses_and_names_the_leader(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    bench.step(ReadBarrier(1))

    assert bench.reads == [ReadOutcome(1, refused="this member does not lead", leader=BOB)]


def test_a_leader_that_steps_down_refuses_what_waits(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(ReadBarrier(1))

    bench.receive(confirm(BOB, 0, term=5))

    assert [(read.token, bool(read.refused)) for read in bench.reads] == [(1, True)]


def test_reads_that_wait_are_bounded(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_PENDING_READS", 2)
    bench = make_bench()
    bench.lead(BOB)

    bench.step(ReadBarrier(1), ReadBarrier(2), ReadBarrier(3))

    assert [(read.token, read.leader) for read in bench.reads] == [(3, ALICE)]
    assert "2 reads wait already" in bench.reads[0].refused
