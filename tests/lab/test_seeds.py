"""Seeds: repeatable in any process, reported one by one, and failing loudly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.seeds import SeedOutcome, run_seed, run_seeds
from raftswarm.lab.trace import Trace

PRINT_DIGESTS = """
from raftswarm.lab.replaying import run_recording
from raftswarm.lab.seeds import run_seed
from raftswarm.lab.trace import Trace
for seed in range(5, 9):
    outcome = run_seed(seed, 2.0, trace=Trace(enabled=True, keep_lines=False))
    print(outcome.digest, outcome.events, outcome.failure, run_recording(outcome.recording).digest)
"""


def digests_under(hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", PRINT_DIGESTS], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.splitlines()


def test_seeds_and_their_recordings_give_the_same_traces_in_every_process() -> None:
    first = digests_under("1")

    assert first == digests_under("2")
    assert len(first) == 4
    for line in first:
        drawn, *_, replayed = line.split()
        assert drawn == replayed
        assert len(drawn) == 32


def test_every_seed_is_reported() -> None:
    reported: list[SeedOutcome] = []

    failed = run_seeds(first=3, count=2, seconds=0.5, report=reported.append)

    assert [outcome.seed for outcome in reported] == [3, 4]
    assert failed == []
    assert all(outcome.events > 0 and outcome.acknowledged > 0 for outcome in reported)


def test_a_seed_that_fails_says_when_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn_ended(invariants: Invariants, member: int, applied_index: int) -> None:
        if applied_index > 5:
            raise Violation(f"0: planted at {member}")

    monkeypatch.setattr(Invariants, "turn_ended", turn_ended)

    first, again = (run_seed(3, 5.0, trace=Trace(enabled=True)) for _ in range(2))

    assert isinstance(first.failure, Violation)
    assert first.failure.__notes__[0].startswith("seed 3, at ")
    assert (str(again.failure), again.events, again.digest) == (str(first.failure), first.events, first.digest)
