"""Priorities as the configuration lists them: timers and ties, nothing else (5.2)."""

from __future__ import annotations

import pytest

from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.log_view import encode_configuration
from raftswarm.raft.priorities import priority_of, timer_slice

ALICE, BOB, CAROL = 1, 2, 3


def with_priorities(*priorities: int, learners: tuple[int, ...] = ()) -> Configuration:
    """Voters from 1 on with these priorities, then learners."""
    infos = [MemberInfo(id=place, priority=value) for place, value in enumerate((*priorities, *learners), start=1)]
    return Configuration(voters=tuple(infos[: len(priorities)]), learners=tuple(infos[len(priorities) :]))


def test_equal_priorities_leave_everybody_the_whole_spread() -> None:
    configuration = with_priorities(3, 3, 3)

    assert [timer_slice(configuration, member) for member in (ALICE, BOB, CAROL)] == [(0.0, 1.0)] * 3


def test_each_priority_has_its_part_the_highest_the_first() -> None:
    configuration = with_priorities(0, 7, 0, 2)

    starts = [timer_slice(configuration, member)[0] for member in (1, 2, 3, 4)]
    assert starts == [pytest.approx(2 / 3), 0.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]


@pytest.mark.parametrize("member", [ALICE, BOB, CAROL, 4, 99])
def test_nobody_waits_longer_than_2_t(member: int) -> None:
    start, width = timer_slice(with_priorities(5, 3, 1, learners=(0,)), member)

    assert 0.0 <= start < start + width <= 1.0 + 1e-9


def test_who_is_not_listed_has_the_lowest() -> None:
    assert priority_of(with_priorities(5, 3), 99) == 0


def test_a_configuration_without_priorities_keeps_its_bytes() -> None:
    assert b"priority" not in encode_configuration(with_priorities(0, 0))
