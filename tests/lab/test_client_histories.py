"""Recorded histories are linearizable; every lie that is planted in one is found, and shown in a short window."""

from __future__ import annotations

from functools import cache

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.client_histories import LIES, plant, record_history
from raftswarm.lab.linearizability import MODELS, Operation, Outcome, check

MODEL = MODELS["kv-append"]


@cache
def recorded(seed: int, clients: int = 10, operations: int = 200) -> tuple[Operation, ...]:
    return tuple(record_history(seed, clients=clients, operations=operations))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_clients_see_is_linearizable(seed: int) -> None:
    history = recorded(seed)

    assert len(history) >= 200
    assert len({operation.client for operation in history}) == 10
    assert check(history, MODEL).outcome is Outcome.LINEARIZABLE


@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_lie_is_found_and_its_window_has_it(kind: str, seed: int) -> None:
    history, lie = plant(recorded(seed), kind, seed)

    verdict = check(history, MODEL)

    assert verdict.outcome is Outcome.REFUTED
    assert verdict.key == lie.key
    assert verdict.window is not None
    assert len(verdict.window.operations) < 30
    assert lie in verdict.window.operations


def test_the_same_seed_is_the_same_history() -> None:
    assert record_history(5, clients=3, operations=30) == record_history(5, clients=3, operations=30)


def test_a_history_without_anything_to_lie_about_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="record a longer one"):
        plant([], "lost", 1)
