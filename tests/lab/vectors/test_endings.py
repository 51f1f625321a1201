"""Scenarios of other engines and of the paper, played to ours (`shared/vectors`), and how ends are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.vectors import read_vectors
from raftswarm.lab.vectors.endings import CLAIMS, DEPARTURES, check_scenario
from raftswarm.lab.vectors.scenario_form import Scenario
from tests.conftest import find_vectors

SCENARIOS = sorted(find_vectors("scenarios").glob("*/*.json"))
SKIPPED = {"forget_leader", "forget_leader_prevote_checkquorum"}


def scenario(**fields: Any) -> Scenario:
    """One node that elects itself; a test changes what it is about."""
    node = {
        "id": 1,
        "term": 0,
        "vote": 0,
        "snapshot": {"index": 0, "term": 0},
        "log": [],
        "voters": [1],
        "learners": [],
    }
    end = {
        "role": "leader",
        "term": 1,
        "vote": 1,
        "commit": 1,
        "log": [{"index": 1, "term": 1, "kind": "noop"}],
        "config": {"voters": [1]},
    }
    story = {
        "id": "one",
        "compare": "final",
        "options": {},
        "nodes": [node],
        "steps": [{"do": "campaign", "node": 1}, {"do": "settle"}],
        "checkpoints": [],
        "expect_final": {"1": end},
        "expect_settled": {"1": end},
    }
    return msgspec.json.decode(msgspec.json.encode(story | fields), type=Scenario)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_core_ends_where_the_reference_does(path: Path) -> None:
    [file] = read_vectors([path])

    [outcome] = file.check()

    assert outcome.verdict == ("skipped" if path.stem in SKIPPED else "passed"), outcome.details


def test_every_departure_and_claim_is_about_a_scenario() -> None:
    names = {file_id(path) for path in SCENARIOS}

    assert set(DEPARTURES) | set(CLAIMS) <= names


def file_id(path: Path) -> str:
    name: str = msgspec.json.decode(path.read_bytes())["id"]
    return name


def test_an_end_that_agrees_passes() -> None:
    assert check_scenario(scenario()).verdict == "passed"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "follower"),
        ("term", 2),
        ("vote", 0),
        ("commit", 0),
        ("config", {"voters": [1, 2]}),
        ("log", [{"index": 1, "term": 2, "kind": "noop"}]),
        ("log", [{"index": 1, "term": 1, "kind": "noop"}, {"index": 2, "term": 1, "kind": "data", "data": "x"}]),
    ],
)
def test_an_end_that_differs_fails_and_is_named(field: str, value: object) -> None:
    end = msgspec.to_builtins(scenario().expect_final[1], str_keys=True) | {field: value}

    outcome = check_scenario(scenario(expect_final={"1": end}))

    assert outcome.verdict == "failed"
    assert any("expected" in detail for detail in outcome.details)


def test_a_command_that_should_be_refused_and_is_not_fails() -> None:
    steps = [{"do": "campaign", "node": 1}, {"do": "settle"}, {"do": "propose", "node": 1, "data": "x"}]
    refused = {"step": 2, "result": "refused", "delivered": 0}

    outcome = check_scenario(scenario(steps=steps, checkpoints=[refused]))

    assert outcome.details == ("step 2, propose: ok, expected refused",)


def test_a_scenario_with_a_call_of_another_engine_is_skipped_with_the_reason() -> None:
    outcome = check_scenario(scenario(steps=[{"do": "forget_leader", "node": 1}]))

    assert outcome.verdict == "skipped"
    assert "forget_leader" in outcome.details[0]


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"do": "campaign", "node": 2}, "names node 2"),
        ({"do": "flush", "nodes": [3]}, "names node 3"),
        ({"do": "compact", "node": 1, "first_index": 5}, "entry 4 cannot be in a new snapshot"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_with_its_place(step: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidSpec, match=complaint):
        check_scenario(scenario(steps=[step]))


def test_a_checkpoint_behind_the_last_step_is_refused_with_its_place() -> None:
    beyond = {"step": 7, "result": "ok", "delivered": 0}

    with pytest.raises(InvalidSpec, match="there is no step 7"):
        check_scenario(scenario(checkpoints=[beyond]))
