"""The rules for configurations that follow one another (dissertation 4.1, 4.3), as the world checks them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftswarm.lab.change_rules import find_wrong_step
from raftswarm.raft.log_entry import Configuration, MemberInfo


def members(
    *voters: int,
    learners: Sequence[int] = (),
    outgoing: Sequence[int] = (),
    learners_next: Sequence[int] = (),
    auto_leave: bool = False,
) -> Configuration:
    def infos(ids: Sequence[int]) -> tuple[MemberInfo, ...]:
        return tuple(MemberInfo(id=member) for member in ids)

    return Configuration(
        voters=infos(voters),
        learners=infos(learners),
        outgoing=infos(outgoing),
        learners_next=infos(learners_next),
        auto_leave=auto_leave,
    )


THREE = members(1, 2, 3)
JOINT = members(1, 4, 5, learners=[6], outgoing=[1, 2, 3], learners_next=[2], auto_leave=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (THREE, members(1, 2)),
        (THREE, members(1, 2, 3, 4, learners=[5, 6])),
        (THREE, JOINT),
        (THREE, members(1, 2, 3, outgoing=[1, 2, 3])),
        (JOINT, members(1, 4, 5, learners=[2, 6])),
    ],
)
def test_steps_that_the_rules_allow(old: Configuration, new: Configuration) -> None:
    assert find_wrong_step(old, new) == ""


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (THREE, members(1), "changes 2 voters at once"),
        (THREE, members(1, 2, 4), "changes 2 voters at once"),
        (THREE, members(), "no voter"),
        (THREE, members(1, 2, learners=[2]), "lists a member twice"),
        (THREE, members(1, 4, outgoing=[1, 2]), "instead of the voters before"),
        (THREE, members(1, 2, learners_next=[3]), "says what comes after it"),
        (THREE, members(1, 2, auto_leave=True), "says what comes after it"),
        (THREE, members(1, 4, learners=[2], outgoing=[1, 2, 3]), "counts a learner as a voter"),
        (THREE, members(1, 4, outgoing=[1, 2, 3], learners_next=[4]), "counts a learner as a voter"),
        (THREE, members(1, 4, outgoing=[1, 2, 3], learners_next=[5]), "counts a learner as a voter"),
        (JOINT, members(1, 4, 5, 6, outgoing=[1, 4, 5]), "instead of the voters before"),
        (JOINT, members(1, 4, 5, learners=[6]), "for others than its new members"),
        (JOINT, members(1, 2, 3), "for others than its new members"),
    ],
)
def test_other_steps_are_found(old: Configuration, new: Configuration, wrong: str) -> None:
    assert wrong in find_wrong_step(old, new)
