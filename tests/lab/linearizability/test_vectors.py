"""Histories of other systems, with known verdicts (`shared/vectors/histories`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from raftswarm.lab.linearizability import MODELS, Outcome, check, check_history_file, read_history
from tests.conftest import find_vectors

HISTORIES = find_vectors("histories")


INDEX: list[dict[str, Any]] = json.loads((HISTORIES / "index.json").read_text())["files"]


def path_of(file: dict[str, Any]) -> Path:
    return HISTORIES / Path(file["file"]).name


@pytest.mark.parametrize("file", INDEX, ids=lambda file: Path(file["file"]).stem)
def test_the_verdict_is_the_known_one(file: dict[str, Any]) -> None:
    verdict = check_history_file(path_of(file))

    assert verdict.outcome is (Outcome.LINEARIZABLE if file["linearizable"] else Outcome.REFUTED), str(verdict)
    assert verdict.operations == file["operations"]


def test_few_orders_are_tried() -> None:
    """More than 6,000 operations leave astronomically many."""
    verdicts = [check_history_file(path_of(file), model=file["model"]) for file in INDEX]

    assert sum(verdict.configurations for verdict in verdicts) < 5000


@pytest.mark.parametrize("cut", [0, 1])
def test_a_lost_or_doubled_append_among_50_clients_is_found_soon(cut: int) -> None:
    [path] = [path_of(file) for file in INDEX if path_of(file).name == "kv-c50-ok.jsonl"]
    history = read_history(path)
    for place in [place for place, operation in enumerate(history) if operation.result not in {None, ""}][cut::80]:
        get = history[place]
        assert isinstance(get.result, str)
        wrong = get.result[: get.result.rindex("x")] if cut else get.result + get.result[get.result.rindex("x") :]

        verdict = check([*history[:place], attrs.evolve(get, result=wrong), *history[place + 1 :]], MODELS["kv-append"])

        if cut and verdict.is_linearizable:
            continue  # The append was concurrent with the get, and nobody else had seen it.
        assert verdict.outcome is Outcome.REFUTED
        assert verdict.key == get.key
        assert verdict.configurations < 20_000
