"""``raftswarm lab``: what differs is printed, and the exit status tells the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftswarm.cli.main import run

CASE = {"kind": "vote", "id": "a", "voters": [1], "voters_outgoing": None, "votes": {"1": True}, "expect_vote": "won"}


@pytest.fixture
def write(tmp_path: Path) -> str:
    path = tmp_path / "quorum.json"
    path.write_text(json.dumps({"cases": [CASE, CASE | {"id": "b", "expect_vote": "lost"}]}))
    return str(path)


def test_what_differs_is_printed_and_the_status_is_1(write: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["lab", "vectors", write])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert lines == [f"failed  {write}: b", "        vote is won, expected lost", "1 passed, 1 failed"]


def test_json_has_every_case(write: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["lab", "vectors", "--json", write])

    printed = json.loads(capsys.readouterr().out)
    assert (printed["passed"], printed["failed"], printed["skipped"]) == (1, 1, 0)
    assert [outcome["verdict"] for outcome in printed["outcomes"]] == ["passed", "failed"]


def test_when_all_agrees_the_status_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "quorum.json").write_text(json.dumps({"cases": [CASE]}))

    assert run(["lab", "vectors", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


def test_a_file_that_is_not_understood_gives_2_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("{")

    assert run(["lab", "vectors", str(tmp_path / "bad.json")]) == 2
    assert "bad.json: not a JSON object" in capsys.readouterr().err
