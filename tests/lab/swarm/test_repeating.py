"""A run is a function of its seed and its scenario: in this process, in another, with other hashes of strings."""

from __future__ import annotations

import os
import subprocess
import sys

from raftswarm.lab.swarm import simulate
from raftswarm.lab.swarm.scenarios import SCENARIOS, run_scenario

PROGRAM = """
import sys
from raftswarm.lab.swarm.scenarios import SCENARIOS, run_scenario
for seed in range(1, 4):
    print(run_scenario(SCENARIOS["leader-crash"], seed).digest)
"""


def digests_of_another_process(hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return run.stdout.split()


def test_the_same_seed_is_the_same_run_in_processes_that_hash_differently() -> None:
    here = [run_scenario(SCENARIOS["leader-crash"], seed).digest for seed in range(1, 4)]

    assert digests_of_another_process("1") == here
    assert digests_of_another_process("4711") == here
    assert len({*here}) == 3


def test_what_is_traced_names_the_first_difference() -> None:
    """Two runs of one seed, told in lines: what is compared is everything that happened, in order."""

    async def wait(lab: object) -> None:
        del lab

    one, other = (simulate(wait, seed=5, workers=1, keep_trace=True).trace for _ in range(2))

    assert len(one) > 100
    assert list(one) == list(other)
