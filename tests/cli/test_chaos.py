"""``raftswarm chaos``: schedules are shown, and what fits no run is refused before anything starts."""

from __future__ import annotations

import json

import pytest

from raftswarm.cli.main import run

Captured = pytest.CaptureFixture[str]


def test_the_same_seed_shows_the_same_plan(capsys: Captured) -> None:
    assert run(["chaos", "plan", "--seed", "7"]) == 0
    first = capsys.readouterr().out
    run(["chaos", "plan", "--seed", "7"])

    assert capsys.readouterr().out == first
    assert first.splitlines()[0].split() == ["AT", "FOR", "FAULT"]
    assert len(first.splitlines()) > 5


def test_a_plan_is_also_given_as_json(capsys: Captured) -> None:
    assert run(["chaos", "plan", "--seed", "7", "--faults", "kill", "--targets", "worker", "--json"]) == 0

    planned = json.loads(capsys.readouterr().out)
    assert {(fault["kind"], fault["target"]) for fault in planned} == {("kill", "worker")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--faults", "fire"], "there is no fault 'fire'"),
        (["run", "--faults", "fire"], "there is no fault 'fire'"),
        (["run", "--targets", "king"], "there is no target 'king'"),
        (["run", "--duration", "1"], "not in the range"),
        (["run", "--nodes", "0"], "not in the range"),
    ],
)
def test_what_fits_no_run_is_refused(capsys: Captured, arguments: list[str], words: str) -> None:
    assert run(["chaos", *arguments]) == 2

    assert words in capsys.readouterr().err


def test_a_directory_without_a_swarm_is_refused(
    capsys: Captured, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end:
        run(["chaos", "run", "--dir", str(tmp_path)])

    assert end.value.code == 1
    assert "no local swarm in" in capsys.readouterr().err
