"""Named scenarios end at rest; a few seeds of each here, many by ``raftswarm lab run swarm --seeds 50``.

RAFTSWARM_SEEDS and RAFTSWARM_FIRST_SEED run more, or others.
"""

from __future__ import annotations

import os

import pytest

from raftswarm.lab.swarm.scenarios import SCENARIOS, run_scenario

FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "2"))

KEPT = [
    # A task of a global job completes on a node out of reach, which is drained before the news of that comes.
    ("random", 40),
]
"""Seeds that have failed once, and what is special about them."""


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
@pytest.mark.parametrize("name", SCENARIOS)
def test_it_ends_at_rest(name: str, seed: int) -> None:
    run(name, seed)


@pytest.mark.parametrize(("name", "seed"), KEPT)
def test_it_ends_at_rest_where_it_once_did_not(name: str, seed: int) -> None:
    run(name, seed)


def run(name: str, seed: int) -> None:
    outcome = run_scenario(SCENARIOS[name], seed)
    if outcome.failure is not None:
        outcome.failure.add_note(f"see it again: raftswarm lab run {name} --first-seed {seed} --seeds 1")
        raise outcome.failure
