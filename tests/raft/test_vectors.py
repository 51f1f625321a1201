"""What other engines' suites expect: quorums, unit tables and configurations, as data (`shared/vectors`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raftswarm.lab.vectors import Outcome, read_vectors

VECTORS = Path(os.environ.get("RAFTSWARM_SHARED", Path(__file__).parents[3] / "shared")) / "vectors"


def check(name: str) -> list[Outcome]:
    if not (VECTORS / name).exists():
        assert not os.environ.get("CI"), f"{name} of the shared vectors is missing, and under CI nothing may be"
        pytest.skip(f"needs {name} of the shared vectors", allow_module_level=True)
    [file] = read_vectors([VECTORS / name])
    return file.check()


OUTCOMES = [outcome for name in ("quorum.json", "tables.json", "confchange.json") for outcome in check(name)]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.name)
def test_the_core_agrees_with_other_engines(outcome: Outcome) -> None:
    assert outcome.verdict == "passed", outcome.details
