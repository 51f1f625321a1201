"""``raftswarm lab``: runs and recordings. Exit status 0 well, 1 violated or different, 2 not understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raftswarm.cli.main import run
from raftswarm.lab.invariants import Invariants, Violation

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def ask(captured: Captured, *arguments: str) -> tuple[int, str]:
    captured.readouterr()
    status = run(["lab", *arguments])
    return status, captured.readouterr().out


def ask_json(captured: Captured, *arguments: str) -> tuple[int, Any]:
    status, printed = ask(captured, *arguments, "--json")
    return status, json.loads(printed)


@pytest.fixture
def failover(capsys: Captured) -> str:
    assert ask(capsys, "run", "failover", "-o", "failover.recording")[0] == 0
    return "failover.recording"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> str:
    """A recording of a world that has an invariant which nobody can keep."""
    turn_ended = Invariants.turn_ended

    def fail(invariants: Invariants, member: int, applied_index: int) -> None:
        turn_ended(invariants, member, applied_index)
        if applied_index > 12:
            raise Violation(f"99: member {member} has come to {applied_index}")

    monkeypatch.setattr(Invariants, "turn_ended", fail)
    status, printed = ask(capsys, "run", "--random", "--seeds", "1", "--first-seed", "1", "--seconds", "8")
    assert status == 1
    assert "seed 1      FAILED" in printed
    assert "see it again: raftswarm lab explain seed-1.recording" in printed
    assert printed.endswith("1 of 1 seeds violated something\n")
    return "seed-1.recording"


# Runs.


def test_without_arguments_scenarios_are_listed(capsys: Captured) -> None:
    status, printed = ask(capsys, "run")

    assert status == 0
    assert "  failover    The leader crashes and comes back as a follower\n" in printed


def test_a_scenario_is_shown_and_recorded(capsys: Captured) -> None:
    status, printed = ask(capsys, "run", "failover", "-o", "run")

    assert status == 0
    assert "-- crash member 2" in printed
    assert "recorded in run" in printed
    assert ask(capsys, "replay", "run")[1].endswith("the same as recorded\n")


def test_a_recording_can_be_run_as_a_scenario(capsys: Captured, failover: str) -> None:
    assert ask(capsys, "run", failover) == ask(capsys, "run", "failover")


def test_random_worlds_are_counted_up(capsys: Captured) -> None:
    status, printed = ask(capsys, "run", "--random", "--seeds", "3", "--first-seed", "4", "--seconds", "2")

    lines = printed.splitlines()
    assert status == 0
    assert [line.split()[:3] for line in lines[:3]] == [["seed", seed, "ok"] for seed in "456"]
    assert lines[4].startswith("3 seeds, 0.0")
    assert "events per CPU second" in lines[4]
    assert lines[5].startswith("faults: ")
    assert lines[-1] == "0 of 3 seeds violated something"


def test_random_worlds_in_json(capsys: Captured) -> None:
    status, printed = ask_json(
        capsys, "run", "--random", "--seeds", "2", "--seconds", "2", "--keep-all", "--keep", "all"
    )

    assert status == 0
    assert printed["report"]["seeds"] == 2
    assert set(printed["report"]["commits"]) == {"1", "2"}
    assert printed["totals"]["events_per_cpu_second"] > 0
    assert sorted(path.name for path in Path("all").iterdir()) == ["seed-1.recording", "seed-2.recording"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nothing"],
        ["run", "failover", "--random"],
        ["replay", "nothing"],
        ["run", "--random", "--seeds", "0"],
        ["explain", "nothing"],
        ["shrink", "nothing"],
        ["diff", "nothing", "nothing"],
        ["timeline", "nothing"],
        ["step", "nothing"],
        ["fork", "nothing", "--after", "1", "--seed", "1"],
        ["convert", "nothing"],
        ["run", "failover", "--seeds", "5"],
        ["run", "failover", "--jobs", "2"],
        ["run", "--seeds", "50"],
        ["run", "--random", "-o", "one.recording"],
        ["run", "worker-pause", "--members", "3"],
    ],
)
def test_what_is_not_understood_gives_2(arguments: list[str], capsys: Captured) -> None:
    assert ask(capsys, *arguments)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["step", "failover.recording", "1000000"], "this run has "),
        (["explain", "failover.recording", "1000000"], "there is no step 1000000"),
        (["explain", "failover.recording", "-1"], "-1 is not in the range"),
        (["fork", "failover.recording", "--after", "1000000", "--seed", "1"], "fork it earlier"),
        (["fork", "failover.recording", "--after", "5", "--seed", "-1"], "-1 is not in the range"),
        (["timeline", "failover.recording", "--from", "nan"], "nan is not a finite number"),
        (["timeline", "failover.recording", "--from", "3", "--to", "2"], "there is nothing from 3 s to 2 s"),
        (["convert", "failover.recording", "--to-seconds", "nan"], "nan is not a finite number"),
        (["run", "--random", "--seconds", "nan"], "nan is not a finite number"),
        (["run", "--random", "--seconds", "inf"], "inf is not a finite number"),
        (["run", "--random", "--first-seed", "-3"], "-3 is not in the range"),
        (["power-loss", "--budget", "nan"], "nan is not a finite number"),
        (["check", "empty"], "there is no history in empty"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(
    arguments: list[str], words: str, capsys: Captured, failover: str
) -> None:
    assert failover == "failover.recording"
    Path("empty").mkdir()

    assert run(["lab", *arguments]) == 2

    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"version":1', '"version":2', "line 1: version 2 is not known here, only 1; upgrade raftswarm"),
        ('"raftswarm recording"', '"raftswarm campaign"', "line 1: this is no recording but 'raftswarm campaign'"),
        ('"seed":1', '"seed":-1', "line 1: Expected `int` >= 0 - at `$.seed`"),
        ('"members":3', '"members":0', "line 1: Expected `int` >= 1 - at `$.members`"),
        ('"members":3', '"members":1000', "line 1: Expected `int` <= 64 - at `$.members`"),
        ('"seconds":8.0', '"seconds":-8.0', "line 1: Expected `float` > 0.0 - at `$.seconds`"),
        ('"seconds":8.0', '"seconds":NaN', "line 1: "),
        ('"kind":"crash"', '"kind":"fire"', "line 2: Invalid value 'fire'"),
        ('"kind":"crash","member":2', '"kind":"cra', "line 2: "),
        ('{"at":3.0', '{"at":-3.0', "line 2: Expected `float` >= 0.0 - at `$.at`"),
    ],
)
def test_a_file_that_is_no_recording_is_named_with_its_line(
    old: str, new: str, words: str, capsys: Captured, failover: str
) -> None:
    edit(failover, old, new)

    assert run(["lab", "replay", failover]) == 2

    assert f"failover.recording, {words}" in capsys.readouterr().err


def test_faults_of_a_member_that_is_not_there_change_nothing(capsys: Captured, failover: str) -> None:
    edit(failover, '"kind":"crash","member":2', '"kind":"crash","member":99')

    assert ask(capsys, "timeline", failover)[0] == 0


def test_a_recording_whose_end_was_cut_off_is_still_a_scenario(capsys: Captured, failover: str) -> None:
    lines = Path(failover).read_text().splitlines(keepends=True)
    Path(failover).write_text("".join(lines[:-1]))

    status, printed = ask(capsys, "replay", failover)

    assert status == 0
    assert printed.endswith("how the run ended: it is a scenario, or its last line is cut off\n")


@pytest.mark.parametrize(
    "arguments", [["timeline", "--svg"], ["convert", "-o"], ["fork", "--after", "5", "--seed", "1", "-o"]]
)
def test_a_place_that_cannot_be_written_gives_1(arguments: list[str], capsys: Captured, failover: str) -> None:
    command, *options = arguments

    assert run(["lab", command, failover, *options, "nowhere/out"]) == 1

    assert capsys.readouterr().err == "cannot write nowhere/out: No such file or directory\n"


# Recordings.


def test_a_recording_of_another_engine_is_told_apart(capsys: Captured, failover: str) -> None:
    content = Path(failover).read_text()
    Path("other").write_text(content.replace('"member":2', '"member":1'))

    status, printed = ask(capsys, "replay", "other")

    assert status == 1
    assert "this is not the recorded run: it differs somewhere after step 500" in printed


def test_a_fork_is_recorded(capsys: Captured, failover: str) -> None:
    status, printed = ask_json(capsys, "fork", failover, "--after", "600", "--seed", "4")

    assert status == 0
    assert printed["recording"] == "failover-600-4.recording"
    assert ask(capsys, "replay", printed["recording"])[0] == 0
    status, printed = ask(capsys, "diff", failover, printed["recording"])
    assert status == 1
    assert printed.startswith("the runs are the same up to step 6")


def test_equal_runs_do_not_differ(capsys: Captured, failover: str) -> None:
    assert ask(capsys, "diff", failover, failover) == (0, "both runs are the same, step by step\n")
    assert ask_json(capsys, "diff", failover, failover) == (0, {"same": True, "difference": None})


def test_steps_are_shown_with_their_rules(capsys: Captured, failover: str) -> None:
    status, printed = ask(capsys, "step", failover, "0", "--count", "120")

    assert status == 0
    assert "    2: begins term 2, votes for itself and asks the others for their votes (5.2)\n" in printed
    _, rows = ask_json(capsys, "step", failover, "50", "--count", "2", "--quiet", "--states")
    assert [row["step"]["number"] for row in rows] == [50, 51]
    assert [state["member"] for state in rows[0]["states"]] == [1, 2, 3]


def test_a_step_is_explained(capsys: Captured, failover: str) -> None:
    _, rows = ask_json(capsys, "step", failover, "--count", "100")
    [step] = [
        row["step"]["number"]
        for row in rows
        if any(event.get("prop", {}).get("rule") == "CAMPAIGN" for event in row["step"]["engine"])
    ]

    status, printed = ask(capsys, "explain", failover, str(step))

    assert status == 0
    assert "    member 2 begins term 2, votes for itself and asks the others for their votes (5.2)\n" in printed
    assert "    before: member 2 pre-candidate: term 1, log 1..1, commit 0\n" in printed
    assert ask_json(capsys, "explain", failover, str(step))[1]["step"] == step


def test_a_timeline_is_text_or_a_picture(capsys: Captured, failover: str) -> None:
    text = ask(capsys, "timeline", failover)[1]
    part = ask(capsys, "timeline", failover, "--from", "2.5", "--to", "3.5")[1]
    drawn = ask(capsys, "timeline", failover, "--svg", "run.svg")[1]

    assert "LEADER t2" in text
    assert "start member 2" in text
    assert "crash member 2" in part
    assert "start member 2" not in part
    assert drawn == "drawn in run.svg\n"
    assert Path("run.svg").read_text().startswith("<svg ")
    assert ask_json(capsys, "timeline", failover)[1]["spans"]


def test_a_run_is_converted_for_shiviz(capsys: Captured, failover: str) -> None:
    assert 'member-1 {"member-1":1}\n' in ask(capsys, "convert", failover)[1]
    assert ask(capsys, "convert", failover, "-o", "log")[1] == "written to log\n"


# Failures.


def test_a_failure_is_recorded_replayed_explained_and_shrunk(capsys: Captured, failing: str) -> None:
    assert ask(capsys, "replay", failing)[1].endswith("the same as recorded\n")

    explained = ask(capsys, "explain", failing)[1]
    assert "violated: Violation: 99: member " in explained
    assert "what led to it:\n" in explained

    status, printed = ask(capsys, "shrink", failing)
    assert status == 0
    assert " faults before, 0 now; " in printed
    assert printed.endswith("recorded in seed-1-shrunk.recording\n")
    shrunk = ask_json(capsys, "replay", "seed-1-shrunk.recording")
    assert shrunk[0] == 0
    assert shrunk[1]["ending"]["violation"].startswith("Violation: 99: ")
    assert ask(capsys, "timeline", "seed-1-shrunk.recording")[1].count("!! Violation: 99: ") == 1


def test_a_failure_that_the_engine_no_longer_has_is_not_explained(capsys: Captured, failing: str) -> None:
    with pytest.MonkeyPatch.context() as sound:
        sound.setattr(Invariants, "turn_ended", lambda *_: None)
        assert run(["lab", "explain", failing]) == 2

    assert "the engine has changed since it was recorded" in capsys.readouterr().err


def test_a_run_that_goes_well_is_neither_explained_nor_shrunk(capsys: Captured, failover: str) -> None:
    assert ask(capsys, "explain", failover)[0] == 2
    assert ask(capsys, "shrink", failover)[0] == 2


# Histories.


def history(*events: dict[str, object]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


WRITE = {"type": "invoke", "process": 0, "op": 0, "f": "write", "value": 1}
WROTE = {"type": "return", "process": 0, "op": 0}
READ = {"type": "invoke", "process": 1, "op": 1, "f": "read"}


def test_histories_are_judged(capsys: Captured) -> None:
    Path("good.jsonl").write_text(history(WRITE, WROTE, READ, {"type": "return", "process": 1, "op": 1, "value": 1}))
    assert ask(capsys, "check", "good.jsonl")[0] == 0
    Path("bad.jsonl").write_text(history(WRITE, WROTE, READ, {"type": "return", "process": 1, "op": 1, "value": None}))

    status, printed = ask(capsys, "check", ".")

    assert status == 1
    assert "bad.jsonl: not linearizable: 2 operations" in printed
    assert "then the state is 1, and there is no place for\n        client 1: read -> None" in printed
    assert "good.jsonl: linearizable: 2 operations" in printed
    assert printed.endswith("1 of 2 histories are linearizable\n")
    status, rows = ask_json(capsys, "check", "good.jsonl", "bad.jsonl")
    assert (status, rows["linearizable"], rows["others"]) == (1, 1, 1)
    assert [row["outcome"] for row in rows["histories"]] == ["linearizable", "not linearizable"]
    ask(capsys, "check", "bad.jsonl", "--svg", "bad.svg")
    assert "not linearizable" in Path("bad.svg").read_text()


@pytest.mark.parametrize("content", ["{", history({"type": "return", "process": 1, "op": 1})])
def test_what_is_no_history_gives_2(content: str, capsys: Captured) -> None:
    Path("bad.jsonl").write_text(content)

    assert ask(capsys, "check", "bad.jsonl")[0] == 2
    assert ask(capsys, "check", "nothing.jsonl")[0] == 2
