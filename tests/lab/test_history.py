"""Client calls: one end each, and nothing acknowledged is lost."""

from __future__ import annotations

import pytest

from raftswarm.errors import NotLeader, OutcomeUnknown, Rejected
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.history import History
from raftswarm.lab.invariants import Violation
from raftswarm.raft.state_machine import Context


def context(command_number: int) -> Context:
    return Context(command_number=command_number, time_ns=0, index=10 * command_number, term=1)


def make_history() -> History:
    return History(EventHeap())


def test_a_call_ends_once() -> None:
    call = make_history().begin("read", 1)
    call.complete(0)

    with pytest.raises(Violation, match="ended twice"):
        call.fail(NotLeader())


def test_an_answer_comes_after_the_write_was_applied() -> None:
    call = make_history().begin("write", 1)

    with pytest.raises(Violation, match="before it was applied"):
        call.complete("done")


def test_what_did_not_happen_is_never_applied() -> None:
    history = make_history()
    call = history.begin("write", 1)
    call.fail(NotLeader())

    with pytest.raises(Violation, match="nothing happened"):
        history.applied(call.number, context(1))


def test_what_was_applied_did_happen() -> None:
    history = make_history()
    call = history.begin("write", 1)
    history.applied(call.number, context(1))

    with pytest.raises(Violation, match="nothing happened"):
        call.fail(NotLeader())


def test_an_unknown_outcome_may_be_either() -> None:
    history = make_history()
    call = history.begin("write", 1)
    call.fail(OutcomeUnknown())

    history.applied(call.number, context(1))

    assert not call.acknowledged


def test_a_write_is_applied_in_one_place_only() -> None:
    history = make_history()
    call = history.begin("write", 1)
    history.applied(call.number, context(1))
    history.applied(call.number, context(1))  # At another member.

    with pytest.raises(Violation, match="as command 1 and 2"):
        history.applied(call.number, context(2))


def test_a_refusal_of_the_state_machine_is_an_answer() -> None:
    history = make_history()
    call = history.begin("write", 1)
    history.applied(call.number, context(1))

    call.fail(Rejected())

    assert call.acknowledged
    assert history.last_acknowledged_command == 1


def test_a_read_sees_what_was_acknowledged_before_it_began() -> None:
    history = make_history()
    write = history.begin("write", 1)
    too_early = history.begin("read", 2)
    history.applied(write.number, context(1))
    write.complete("done")
    stale = history.begin("read", 2)

    too_early.complete(9)
    with pytest.raises(Violation, match="read 3 saw index 9; 10 was acknowledged"):
        stale.complete(9)


def test_a_read_ends_only_where_its_index_is_applied() -> None:
    history = make_history()
    applied, behind = history.begin("read", 1), history.begin("read", 2)
    applied.applied, behind.applied = lambda: 10, lambda: 9

    applied.complete(10)
    with pytest.raises(Violation, match="read 2 of index 10 ended at index 9"):
        behind.complete(10)


def test_calls_without_an_answer_are_known() -> None:
    history = make_history()
    waiting = history.begin("write", 1)
    history.begin("write", 2)
    history.begin("write", 1).fail(NotLeader())

    assert history.pending_at(1) == [waiting]
    assert history.pending == 2
