"""Elections (course lab, part 3A)."""

from __future__ import annotations

import pytest

from tests.course_lab.lab import SEEDS, Lab, T

seeds = pytest.mark.parametrize("seed", SEEDS)


@seeds
def test_initial_election(seed: int) -> None:
    lab = Lab(seed, 3)

    leader = lab.leader()
    lab.sleep(0.05)
    terms = lab.terms()
    lab.sleep(2 * T)

    assert len(terms) == 1
    assert min(terms) >= 1
    assert (lab.leader(), lab.terms()) == (leader, terms)


@seeds
def test_re_election(seed: int) -> None:
    lab = Lab(seed, 3)
    first = lab.leader()
    lab.disconnect(first)
    assert lab.leader() != first

    lab.connect(first)
    second = lab.leader()
    lab.disconnect(second, lab.server(second + 1))
    lab.sleep(2 * T)
    lab.no_leader()

    lab.connect(lab.server(second + 1))
    lab.leader()
    lab.connect(second)
    lab.leader()


@seeds
def test_many_elections(seed: int) -> None:
    lab = Lab(seed, 7)
    lab.leader()
    for _ in range(9):
        away = lab.chance.sample(lab.servers, 3)
        lab.disconnect(*away)
        lab.leader()
        lab.connect(*away)
    lab.leader()
