"""What a swarm survives, in words: a majority of all managers has to answer (SWARM 12.3)."""

from __future__ import annotations

import pytest

from raftswarm.objects.swarm_status import ManagerJson, may_lose, say_what_if


def managers(*reachable: bool) -> list[ManagerJson]:
    return [
        ManagerJson(node_id=f"n{number}", hostname=f"docker{number}", reachable=answers)
        for number, answers in enumerate(reachable, 1)
    ]


@pytest.mark.parametrize(
    ("voters", "reachable", "margin"),
    [(1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 2, 0), (3, 1, -1), (4, 4, 1), (5, 5, 2), (5, 3, 0), (7, 7, 3)],
)
def test_a_majority_has_to_stay(voters: int, reachable: int, margin: int) -> None:
    assert may_lose(voters, reachable) == margin


@pytest.mark.parametrize(
    ("reachable", "sentences"),
    [
        ((True,), ["you may lose none of 1: 1 answer, and 1 are needed"]),
        (
            (True, True, True),
            ["you may lose 1 of 3", "after removing any of docker1, docker2, docker3: you may lose none of 2"],
        ),
        (
            (True, True, False),
            [
                "you may lose none of 3: 2 answer, and 2 are needed",
                "after removing any of docker1, docker2: you may lose none of 2",
                "after removing docker3: you may lose none of 2",
            ],
        ),
        (
            (True, False, False),
            [
                "there is no quorum: 1 of 3 managers answer, and 2 are needed; start the others, or recover",
                "after removing docker1: you may lose none of 2",
                "after removing any of docker2, docker3: you may lose none of 2",
            ],
        ),
        (
            (True,) * 5,
            [
                "you may lose 2 of 5",
                "after removing any of docker1, docker2, docker3, docker4, docker5: you may lose 1 of 4",
            ],
        ),
    ],
)
def test_it_is_said_what_may_be_lost_now_and_after_a_removal(reachable: tuple[bool, ...], sentences: list[str]) -> None:
    assert say_what_if(managers(*reachable)) == sentences
