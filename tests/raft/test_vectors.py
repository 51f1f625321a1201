"""What other engines' suites expect: quorums, unit tables and configurations, as data (`shared/vectors`)."""

from __future__ import annotations

import pytest

from raftswarm.lab.vectors import Outcome, read_vectors
from tests.conftest import find_vectors


def check(name: str) -> list[Outcome]:
    [file] = read_vectors([find_vectors(name)])
    return file.check()


OUTCOMES = [outcome for name in ("quorum.json", "tables.json", "confchange.json") for outcome in check(name)]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.name)
def test_the_core_agrees_with_other_engines(outcome: Outcome) -> None:
    assert outcome.verdict == "passed", outcome.details
