"""Reads share rounds of heartbeats (dissertation 6.4)."""

from __future__ import annotations

from raftswarm.raft.read_queue import ReadQueue, ReadRound


def test_reads_that_wait_together_share_a_round() -> None:
    queue = ReadQueue()
    queue.add(1)
    queue.add(2)
    queue.begin_round(index=7)
    queue.add(3)
    queue.begin_round(index=9)

    assert list(queue.take_confirmed(1)) == [ReadRound(1, 7, (1, 2))]
    assert list(queue.take_confirmed(1)) == []
    assert queue.count == 1


def test_a_later_round_confirms_the_earlier_ones() -> None:
    queue = ReadQueue()
    for token in (1, 2):
        queue.add(token)
        queue.begin_round(index=token)

    assert [round_.tokens for round_ in queue.take_confirmed(2)] == [(1,), (2,)]


def test_all_reads_are_taken_out_oldest_first() -> None:
    queue = ReadQueue()
    queue.add(1)
    queue.begin_round(index=1)
    queue.add(2)

    assert queue.take_all() == [1, 2]
    assert (queue.count, queue.has_waiting) == (0, False)
