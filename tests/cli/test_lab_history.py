"""``raftswarm lab history`` and ``lab check``: a lie goes in, and comes out with the window that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftswarm.cli.main import run

HISTORY = ("lab", "history", "--clients", "8", "--operations", "120")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


def test_an_honest_history_is_linearizable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*HISTORY, "-o", "history.jsonl"]) == 0
    assert "operations of 8 clients" in capsys.readouterr().out
    assert run(["lab", "check", "history.jsonl"]) == 0
    assert "history.jsonl: linearizable: " in capsys.readouterr().out


def test_a_planted_lie_is_refuted_and_its_window_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*HISTORY, "-o", "history.jsonl", "--plant", "lost", "--json"]) == 0
    planted = json.loads(capsys.readouterr().out)["planted"]
    assert "get ->" in planted

    assert run(["lab", "check", "history.jsonl"]) == 1
    assert "there is no order of what was under way from " in capsys.readouterr().out
    assert run(["lab", "check", "history.jsonl", "--json"]) == 1
    [row] = json.loads(capsys.readouterr().out)["histories"]
    assert any(" get -> " in operation for operation in row["window"]["operations"])


def test_what_cannot_be_planted_gives_2_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "history", "-o", "h", "--clients", "1", "--operations", "1", "--plant", "swapped"]) == 2
    assert "record a longer one" in capsys.readouterr().err


def test_verdicts_are_compared_with_the_index_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    for name, lie in (("good", []), ("bad", ["--plant", "lost"])):
        assert run([*HISTORY, "-o", f"{name}.jsonl", *lie]) == 0
    files = [{"file": f"{name}.jsonl", "model": "kv-append", "linearizable": True} for name in ("good", "bad")]
    Path("index.json").write_text(json.dumps({"files": files}))
    capsys.readouterr()

    assert run(["lab", "check", "."]) == 1

    printed = capsys.readouterr().out.splitlines()
    assert printed[-3:] == [
        "1 of 2 histories are linearizable",
        "bad.jsonl: the index beside it says otherwise",
        "1 of 2 verdicts are those of the index beside them",
    ]
