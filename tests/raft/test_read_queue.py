"""Reads share rounds of heartbeats, and requests to the leader (dissertation 6.4)."""

from __future__ import annotations

from math import inf

from raftswarm.raft.read_queue import Read, ReadQueue, ReadRequests

ALICE, BOB, CAROL = 1, 2, 3


def read(token: int, asked_at: float = 0.0) -> Read:
    return Read(ALICE, token, asked_at)


def requests_of(*tokens: int) -> ReadRequests:
    """One request for each."""
    requests = ReadRequests(newest=100)
    for token in tokens:
        requests.add(read(token))
        requests.begin_request(BOB, term=1, now=0.0)
    return requests


def test_reads_that_wait_together_share_a_round() -> None:
    queue = ReadQueue()
    for token in (1, 2):
        queue.add(read(token))
    queue.begin_round(5.0, 7, queue.take_waiting())
    queue.add(read(3))
    queue.begin_round(6.0, 9, queue.take_waiting())

    (confirmed,) = queue.take_confirmed(1)

    assert (confirmed.index, confirmed.began_at, confirmed.reads) == (7, 5.0, (read(1), read(2)))
    assert list(queue.take_confirmed(1)) == []
    assert queue.count == 1


def test_a_later_round_confirms_the_earlier_ones() -> None:
    queue = ReadQueue()
    for token in (1, 2):
        queue.begin_round(0.0, token, [read(token)])

    assert [round_.reads for round_ in queue.take_confirmed(2)] == [(read(1),), (read(2),)]


def test_all_reads_are_taken_out_oldest_first() -> None:
    queue = ReadQueue()
    queue.begin_round(0.0, 1, [read(1)])
    queue.add(read(2))

    assert queue.take_all() == [read(1), read(2)]
    assert (queue.count, queue.has_waiting) == (0, False)


def test_reads_that_no_quorum_confirms_are_late_in_the_end() -> None:
    queue = ReadQueue()
    queue.begin_round(1.0, 7, [read(1, asked_at=1.0)])
    queue.add(read(2, asked_at=1.5))
    queue.add(read(3, asked_at=2.0))

    assert queue.take_late(3.0, patience_seconds=1.5) == [read(1, asked_at=1.0), read(2, asked_at=1.5)]
    assert queue.count == 1


def test_an_answer_to_a_request_answers_those_before_it() -> None:
    requests = requests_of(1, 2, 3)

    requests.answer(102, index=7)

    assert list(requests.take_answered(7)) == [(read(1), 7), (read(2), 7)]
    assert requests.count == 1


def test_a_second_answer_changes_nothing() -> None:
    requests = requests_of(1)
    requests.answer(101, index=7)

    requests.answer(101, index=9)

    assert list(requests.take_answered(7)) == [(read(1), 7)]


def test_answered_reads_wait_for_their_index() -> None:
    requests = requests_of(1)
    requests.answer(101, index=7)

    assert list(requests.take_answered(6)) == []
    assert requests.count == 1


def test_a_leader_is_asked_again_when_it_does_not_answer_or_is_another() -> None:
    requests = requests_of(1)

    assert not requests.is_due(BOB, 1, now=0.1, retry_seconds=0.2)
    assert requests.is_due(BOB, 1, now=0.2, retry_seconds=0.2)
    assert requests.is_due(BOB, 2, now=0.1, retry_seconds=0.2)
    assert requests.is_due(CAROL, 1, now=0.1, retry_seconds=0.2)


def test_nothing_is_asked_again_that_was_answered() -> None:
    requests = requests_of(1)
    requests.answer(101, index=7)

    assert not requests.is_due(BOB, 1, now=9.0, retry_seconds=0.2)
    assert requests.next_due(patience_seconds=3.0, retry_seconds=0.2) == 3.0


def test_reads_are_late_one_by_one() -> None:
    requests = ReadRequests(newest=100)
    requests.add(read(1, asked_at=1.0))
    requests.begin_request(BOB, term=1, now=1.0)
    requests.add(read(2, asked_at=2.0))

    assert list(requests.take_late(4.0, patience_seconds=3.0)) == [read(1, asked_at=1.0)]
    assert requests.next_due(patience_seconds=3.0, retry_seconds=inf) == 5.0
    assert requests.take_all() == [read(2, asked_at=2.0)]
    assert requests.next_due(patience_seconds=3.0, retry_seconds=0.2) == inf
