"""``raftswarm lab coverage``: seeds and files are added up, and what is missed is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftswarm.cli.main import run
from raftswarm.lab.coverage import read_coverage
from raftswarm.lab.invariants import Invariants, Violation

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def test_a_run_goes_on_where_the_file_ends(capsys: Captured) -> None:
    assert run(["lab", "coverage", "--seeds", "1", "--seconds", "1", "-o", "sum"]) == 0
    capsys.readouterr()
    assert run(["lab", "coverage", "sum", "--seeds", "1", "--seconds", "1", "-o", "sum", "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert run(["lab", "coverage", "--seeds", "2", "--seconds", "1", "-o", "both"]) == 0
    assert printed["coverage"]["seeds"] == 2
    assert read_coverage("sum") == read_coverage("both")


def test_what_is_missed_is_named(capsys: Captured) -> None:
    assert run(["lab", "coverage", "--seeds", "1", "--seconds", "1"]) == 0

    printed = capsys.readouterr().out
    assert "coverage of 1 seeds:" in printed
    assert "    missed   JOINT_ENTERED.EXPLICIT" in printed
    assert "states of the whole cluster: " in printed


def test_files_are_added_up_without_running_anything(capsys: Captured) -> None:
    run(["lab", "coverage", "--seeds", "1", "--seconds", "1", "-o", "one"])
    capsys.readouterr()

    assert run(["lab", "coverage", "one", "one", "--all"]) == 0

    assert "coverage of 2 seeds:" in capsys.readouterr().out


def test_a_file_that_is_none_is_not_understood(capsys: Captured) -> None:
    Path("none").write_text("{}x")

    assert run(["lab", "coverage", "none"]) == 2
    assert "holds no coverage" in capsys.readouterr().err


def test_a_violation_is_told_and_ends_with_1(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def turn_ended(_invariants: Invariants, member: int, _applied_index: int) -> None:
        raise Violation(f"0: planted at {member}")

    monkeypatch.setattr(Invariants, "turn_ended", turn_ended)

    assert run(["lab", "coverage", "--seeds", "1", "--seconds", "1"]) == 1
    assert "Violation: 0: planted at" in capsys.readouterr().err
