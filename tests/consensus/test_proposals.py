"""Commands wait in order, leave in batches that keep to their limits, and callers hear once of each of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftswarm.consensus import proposals
from raftswarm.consensus.proposals import ProposalQueue, Proposals
from raftswarm.errors import NotLeader, Overloaded, PayloadTooLarge, RaftSwarmError, Rejected
from raftswarm.wire.batch import LENGTH_BYTES, MAX_COMMAND_BYTES


@attrs.define
class Caller:
    """One that proposed a single command."""

    answers: list[object] = attrs.field(factory=list)

    def complete(self, result: object) -> None:
        self.answers.append(result)

    def fail(self, error: RaftSwarmError) -> None:
        self.answers.append(type(error))


@attrs.define
class ManyCaller:
    """One that proposed several together."""

    answers: dict[int, object] = attrs.field(factory=dict)

    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        for place, result in enumerate(results):
            self._take(first + place, type(failed[place]) if place in failed else result)

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        for place in range(first, first + count):
            self._take(place, type(error))

    def _take(self, place: int, answer: object) -> None:
        assert place not in self.answers, "told twice"
        self.answers[place] = answer


def drain(queue: ProposalQueue, room: float = inf) -> list[Proposals]:
    batches = []
    while (batch := queue.take_batch(room)).commands:
        batches.append(batch)
    return batches


def test_what_waits_travels_together_in_order() -> None:
    queue = ProposalQueue()
    queue.add(b"a", Caller())
    queue.add(b"b", Caller())
    queue.add_run([b"c", b"d"], ManyCaller())
    queue.add(b"e", Caller())

    commands = queue.take_batch(inf).commands

    assert commands == [b"a", b"b", b"c", b"d", b"e"]
    assert len(queue) == 0
    assert not queue.take_batch(inf).commands


def test_everybody_hears_of_its_own() -> None:
    queue = ProposalQueue()
    alice, bob, many = Caller(), Caller(), ManyCaller()
    queue.add(b"a", alice)
    queue.add_run([b"b", b"c", b"d"], many)
    queue.add(b"e", bob)
    batch = queue.take_batch(inf)

    batch.settle(0, ["a", "b"], {})
    batch.settle(2, ["c", None], {1: Rejected("no")})
    batch.fail_from(4, NotLeader())

    assert (alice.answers, bob.answers) == (["a"], [NotLeader])
    assert many.answers == {0: "b", 1: "c", 2: Rejected}


def test_a_caller_may_be_refused_among_others() -> None:
    queue = ProposalQueue()
    callers = [Caller(), Caller()]
    for caller in callers:
        queue.add(b"x", caller)
    batch = queue.take_batch(inf)

    batch.settle(0, [None, "done"], {0: Rejected("no")})

    assert [caller.answers for caller in callers] == [[Rejected], ["done"]]


def test_a_batch_keeps_to_its_room_and_the_rest_waits() -> None:
    queue = ProposalQueue()
    many = ManyCaller()
    queue.add_run([bytes(10)] * 5, many)

    assert len(queue.take_batch(3 * LENGTH_BYTES + 2 * 10).commands) == 2
    assert not queue.take_batch(2 * LENGTH_BYTES + 9).commands
    assert len(queue) == 3
    assert len(queue.take_batch(inf).commands) == 3


def test_one_command_may_be_larger_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MAX_BATCH_BYTES", 100)
    queue = ProposalQueue()
    queue.add_run([bytes(10), bytes(200), bytes(10)], ManyCaller())

    assert [len(batch.commands) for batch in drain(queue)] == [1, 1, 1]


def test_only_a_full_queue_refuses_and_only_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MAX_WAITING_COMMANDS", 4)
    queue = ProposalQueue()
    many, late = ManyCaller(), Caller()

    queue.add_run([b"x", bytes(MAX_COMMAND_BYTES + 1), b"y", b"z"], many)
    queue.add_run([b"1", b"2"], many_late := ManyCaller())
    queue.add(b"3", late)

    assert many.answers == {1: PayloadTooLarge}
    assert many_late.answers == {1: Overloaded}
    assert late.answers == [Overloaded]
    assert queue.take_batch(inf).commands == [b"x", b"y", b"z", b"1"]


def test_in_the_end_everybody_is_told() -> None:
    queue = ProposalQueue()
    many, single = ManyCaller(), Caller()
    queue.add_run([b"a", b"b", b"c"], many)
    queue.add(b"d", single)
    batch = queue.take_batch(2 * LENGTH_BYTES + 1)

    queue.fail_all(NotLeader())
    batch.settle(0, ["done"], {})

    assert many.answers == {0: "done", 1: NotLeader, 2: NotLeader}
    assert single.answers == [NotLeader]
    assert len(queue) == 0


@given(
    runs=st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=6), max_size=8),
    rooms=st.lists(st.integers(min_value=30, max_value=100), min_size=1),
    step=st.integers(min_value=1, max_value=4),
)
def test_whatever_the_cuts_each_command_gets_its_own_result(
    runs: list[list[bytes]], rooms: list[int], step: int
) -> None:
    queue = ProposalQueue()
    callers = [ManyCaller() for _ in runs]
    for commands, caller in zip(runs, callers, strict=True):
        queue.add_run(commands, caller)

    batches, number = [], 0
    while (batch := queue.take_batch(rooms[number % len(rooms)])).commands:
        batches.append(batch)
        number += 1
    for batch in reversed(batches):
        for begin in range(0, len(batch.commands), step):
            batch.settle(begin, batch.commands[begin : begin + step], {})

    assert [
        [caller.answers[place] for place in range(len(run))] for run, caller in zip(runs, callers, strict=True)
    ] == runs
