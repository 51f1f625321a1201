"""Seeds: repeatable in any process, reported one by one, and failing loudly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.seeds import SeedOutcome, run_seed, run_seeds
from raftswarm.lab.trace import Trace

PRINT_DIGEST = """
from raftswarm.lab.seeds import run_seed
from raftswarm.lab.trace import Trace
outcome = run_seed(7, 2.0, trace=Trace(enabled=True, keep_lines=False))
print(outcome.digest, outcome.events, outcome.failure)
"""


def digest_under(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    first = digest_under("1")

    assert first == digest_under("2")
    assert len(first.split()[0]) == 32


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
