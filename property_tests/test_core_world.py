"""Random worlds: under any faults nothing is violated, and after healing the cluster serves and agrees.

The gate runs few short worlds. RAFTSWARM_SEEDS and RAFTSWARM_SECONDS run more and longer ones; RAFTSWARM_FIRST_SEED
starts elsewhere, and with one seed replays it.
"""

from __future__ import annotations

import os
import traceback

import pytest

from raftswarm.lab.seeds import SeedOutcome, run_seed

FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "25"))
SECONDS = float(os.environ.get("RAFTSWARM_SECONDS", "20"))


def how_to_replay(outcome: SeedOutcome) -> str:
    assert outcome.failure is not None
    return (
        "".join(traceback.format_exception(outcome.failure))
        + f"\nreplay: RAFTSWARM_FIRST_SEED={outcome.seed} RAFTSWARM_SEEDS=1 RAFTSWARM_SECONDS={outcome.seconds:g} "
        "python -m pytest property_tests/test_core_world.py"
    )


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_safety_under_faults_and_liveness_after_healing(seed: int) -> None:
    outcome = run_seed(seed, SECONDS)

    assert outcome.failure is None, how_to_replay(outcome)
    assert outcome.last_committed > 0, "a world in which nothing happened tests nothing"
