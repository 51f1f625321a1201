"""The state machine of the lab keeps the contract that it is there to test."""

from __future__ import annotations

import pytest

from raftswarm.errors import Rejected
from raftswarm.lab.journal import REFUSED, REMEMBERED_COMMANDS, Journal
from raftswarm.raft.state_machine import Context, StateMachine

SOMEWHERE = Context(command_number=1, time_ns=0, index=1, term=1)


def fill(machine: StateMachine, count: int) -> None:
    for number in range(count):
        machine.apply(b"%d" % number, SOMEWHERE)


def test_it_counts_all_and_keeps_the_last() -> None:
    journal = Journal()

    fill(journal, REMEMBERED_COMMANDS + 5)

    assert journal.count == REMEMBERED_COMMANDS + 5
    assert journal.last[0] == b"5"


def test_a_refused_command_changes_nothing() -> None:
    journal = Journal()
    fill(journal, 1)

    with pytest.raises(Rejected):
        journal.apply(REFUSED, SOMEWHERE)

    assert (journal.count, journal.last) == (1, [b"0"])


def test_a_capture_is_the_state_of_its_moment() -> None:
    journal, restored = Journal(), Journal()
    fill(journal, 3)
    picture = journal.capture()
    fill(journal, 3)

    restored.restore(picture.chunks())

    assert (restored.count, restored.last) == (3, [b"0", b"1", b"2"])
