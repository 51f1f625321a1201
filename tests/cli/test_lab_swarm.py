"""``raftswarm lab run`` with scenarios of whole swarms: each by many seeds, and again in another process."""

from __future__ import annotations

import json

import attrs
import pytest

from raftswarm.cli.main import run
from raftswarm.lab import Violation
from raftswarm.lab.swarm import Lab, scenarios


async def fail(lab: Lab) -> None:
    raise Violation(f"planted, with {len(lab.nodes)} nodes")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a scenario fail."""
    broken = attrs.evolve(scenarios.SCENARIOS["autolock"], play=fail)
    monkeypatch.setattr(scenarios, "SCENARIOS", {**scenarios.SCENARIOS, "autolock": broken})


def test_every_seed_has_a_line_and_the_end_says_how_many_came_to_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "autolock", "--seeds", "2"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [["autolock", "seed", str(seed), "ok"] for seed in (1, 2)]
    assert lines[2].startswith("2 of 2 runs came to rest; ")


def test_what_fails_says_how_to_see_it_again_and_the_status_is_1(
    planted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["lab", "run", "autolock", "--first-seed", "7", "--seeds", "1"]) == 1

    printed = capsys.readouterr().out
    assert "Violation: planted, with 5 nodes" in printed
    assert "see it again: raftswarm lab run autolock --first-seed 7 --seeds 1" in printed
    assert "0 of 1 runs came to rest" in printed


def test_json_has_every_run(planted: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "autolock", "--seeds", "1", "--json"]) == 1

    printed = json.loads(capsys.readouterr().out)
    assert printed["totals"]["failed"] == 1
    [one] = printed["runs"]
    assert (one["scenario"], one["seed"]) == ("autolock", 1)
    assert one["failure"] == "Violation: planted, with 5 nodes"


def test_the_same_runs_in_another_process_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "autolock", "--seeds", "1", "--twice"]) == 0

    assert "1 of 1 runs were the same in another process, with other hashes" in capsys.readouterr().out


def test_a_run_that_differs_in_another_process_is_named(planted: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Planted: here, and not in the other process, the scenario is another one."""
    assert run(["lab", "run", "autolock", "--seeds", "1", "--twice"]) == 1

    printed = capsys.readouterr().out
    assert "0 of 1 runs were the same in another process" in printed
    assert "differs: autolock seed 1" in printed


def test_the_list_has_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "--json"]) == 0

    assert "worker-pause" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [["autolock", "-o", "file"], ["failover", "--twice"], ["autolock", "--random"]],
)
def test_what_does_not_fit_gives_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", *arguments]) == 2

    assert "Error" in capsys.readouterr().err
