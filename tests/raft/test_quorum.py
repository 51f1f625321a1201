"""Majorities (5.2, 5.3) and joint majorities (dissertation 4.3)."""

from __future__ import annotations

import pytest

from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.quorum import Quorum, VoteResult

FIVE = Quorum((1, 2, 3, 4, 5))
JOINT = Quorum((1, 2, 3), (3, 4, 5))


def infos(*ids: int) -> tuple[MemberInfo, ...]:
    return tuple(MemberInfo(id=member) for member in ids)


def test_learners_have_no_vote() -> None:
    quorum = Quorum.of(Configuration(voters=infos(1, 2), learners=infos(3)))

    assert quorum.includes(1)
    assert not quorum.includes(3)
    assert not quorum.is_met_by({1, 3})


def test_a_majority_has_reached_the_middle_value() -> None:
    values = {1: 10, 2: 7, 3: 9, 4: 1, 5: 2}

    assert FIVE.reached(values.__getitem__) == 7


def test_of_an_even_number_more_than_half_must_agree() -> None:
    values = {1: 10, 2: 10, 3: 5, 4: 1}

    assert Quorum((1, 2, 3, 4)).reached(values.__getitem__) == 5


def test_in_a_joint_configuration_the_slower_set_decides() -> None:
    values = {1: 10, 2: 10, 3: 3, 4: 2, 5: 1}

    assert JOINT.reached(values.__getitem__) == 2


def test_without_voters_nothing_is_reached() -> None:
    assert Quorum(()).reached(lambda _: 1) is None


@pytest.mark.parametrize(
    ("votes", "result"),
    [
        ({1: True, 2: True, 3: True}, VoteResult.WON),
        ({1: True, 2: True}, VoteResult.PENDING),
        ({1: True, 2: True, 3: False, 4: False}, VoteResult.PENDING),
        ({1: True, 3: False, 4: False, 5: False}, VoteResult.LOST),
        ({1: True, 2: True, 9: True}, VoteResult.PENDING),
    ],
)
def test_votes_are_counted_among_voters_only(votes: dict[int, bool], result: VoteResult) -> None:
    assert FIVE.vote_result(votes) is result


def test_a_joint_election_needs_both_sets() -> None:
    assert JOINT.vote_result({1: True, 2: True, 3: True}) is VoteResult.PENDING
    assert JOINT.vote_result({1: True, 3: True, 4: True}) is VoteResult.WON
    assert JOINT.vote_result({1: True, 2: True, 3: True, 4: False, 5: False}) is VoteResult.LOST
