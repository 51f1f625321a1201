"""``raftswarm lab run --random`` at length: many processes, interrupted, resumed, twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raftswarm.cli.main import run

RANDOM = ("lab", "run", "--random", "--seconds", "0.5")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def test_jobs_change_nothing_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for jobs in ("1", "2"):
        assert run([*RANDOM, "--seeds", "4", "--jobs", jobs, "--digests"]) == 0
        printed.append([line for line in capsys.readouterr().out.splitlines() if "CPU" not in line])

    assert printed[0] == printed[1]
    assert [line.split()[1] for line in printed[0][:4]] == ["1", "2", "3", "4"]


def test_what_was_put_down_is_not_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    run([*RANDOM, "--seeds", "2", "--jobs", "1", "--resume", "file"])
    rows = Path("file").read_text().splitlines()[1:]
    capsys.readouterr()

    run([*RANDOM, "--seeds", "3", "--jobs", "1", "--resume", "file", "--json"])

    assert Path("file").read_text().splitlines()[1:3] == rows
    printed = json.loads(capsys.readouterr().out)
    assert printed["report"]["seeds"] == 3
    assert printed["interrupted"] is False
    assert printed["totals"]["cluster_hours_per_cpu_minute"] > 0


def test_another_campaign_in_the_file_gives_2_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    run([*RANDOM, "--seeds", "1", "--resume", "file"])

    assert run([*RANDOM, "--seeds", "1", "--resume", "file", "--members", "3"]) == 2
    assert "name another file" in capsys.readouterr().err


def test_traces_of_two_processes_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*RANDOM, "--seeds", "3", "--twice"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        "3 of 3 traces are the same in two processes with different hashes",
        "0 of 3 seeds violated something",
    ]
    assert printed[0].startswith("seed 1      same  ")

    assert run([*RANDOM, "--seeds", "2", "--twice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "seeds": 2,
        "identical": 2,
        "different": [],
        "violated": {},
    }


def test_comparing_puts_nothing_down(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*RANDOM, "--twice", "--resume", "file"]) == 2
    assert "leave --resume out" in capsys.readouterr().err


def test_what_was_reached_is_told_of_all_worlds_together(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that a file remembers."""
    run([*RANDOM, "--seeds", "3", "--jobs", "1"])
    at_once = capsys.readouterr().out.splitlines()
    run([*RANDOM, "--seeds", "2", "--jobs", "1", "--resume", "file"])
    capsys.readouterr()
    run([*RANDOM, "--seeds", "3", "--jobs", "2", "--resume", "file"])
    resumed = capsys.readouterr().out.splitlines()

    for what in ("marks: ", "triples: ", "pairs: "):
        [line] = [line for line in at_once if line.startswith(what)]
        assert line in resumed
        hit, listed = map(int, line.removeprefix(what).partition(" reached")[0].split(" of "))
        assert 0 < hit < listed
        assert line.endswith(f" and {listed - hit - 10} more")


def test_what_was_reached_is_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    run([*RANDOM, "--seeds", "1", "--jobs", "1", "--json"])

    printed = json.loads(capsys.readouterr().out)
    marks = printed["reached"]["marks"]
    counts = printed["report"]["coverage"]["marks"]
    assert "ELECTION_WON" in counts
    assert marks["reached"] == marks["listed"] - len(marks["missed"]) == len(counts.keys() - marks["rare"].keys())
    assert marks["not_listed"] == []


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_what_was_found_so_far(jobs: str, number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", "from raftswarm.cli import main; main()", *RANDOM, "--seeds", "100000"]
    with subprocess.Popen(
        [*command, "--jobs", jobs, "--resume", "file"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)

    assert [line.split()[:3] for line in first] == [["seed", seed, "ok"] for seed in "123"]
    assert process.returncode == 130
    assert "0 of " in output
    assert "violated something" in output
    assert "interrupted: " in errors
    assert "Traceback" not in errors
    ran = int(errors.split()[1])
    assert len(Path("file").read_text().splitlines()) == 1 + ran >= 4
