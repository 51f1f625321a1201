"""Files of vectors are told apart by what they hold, and what is wrong with one is said with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.vectors import read_vectors

QUORUM = (
    '{"cases": [{"kind": "committed", "id": "a", "voters": [1], "voters_outgoing": null, "acked": {"1": 5},'
    ' "expect_committed": 5}]}'
)


def test_a_folder_gives_all_files_in_it_but_its_index(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "quorum.json").write_text(QUORUM)
    (tmp_path / "index.json").write_text('{"files": []}')

    [file] = read_vectors([tmp_path])

    assert file.path == tmp_path / "deep" / "quorum.json"
    assert [outcome.verdict for outcome in file.check()] == ["passed"]


def test_a_file_that_is_named_twice_is_checked_once(tmp_path: Path) -> None:
    (tmp_path / "quorum.json").write_text(QUORUM)

    assert len(read_vectors([tmp_path, tmp_path / "quorum.json"])) == 1


def test_a_case_that_differs_fails(tmp_path: Path) -> None:
    (tmp_path / "quorum.json").write_text(QUORUM.replace('"expect_committed": 5', '"expect_committed": 4'))
    [file] = read_vectors([tmp_path])

    [outcome] = file.check()

    assert outcome.details == ("committed is 5, expected 4",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"color": 1}', "not a known form"),
        ('{"cases": [{"kind": "vote", "id": "a"}]}', r"missing required field `voters` - at `\$.cases\[0\]`"),
        ('{"cases": [{"kind": "guess"}]}', r"'guess' - at `\$.cases\[0\].kind`"),
        ('{"tables": {"chairs": {"rows": []}}}', "chairs"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)

    with pytest.raises(InvalidSpec, match=complaint) as refusal:
        read_vectors([path])

    assert str(refusal.value).startswith(str(path))


HISTORY = (
    '{"type":"invoke","process":0,"op":0,"f":"write","value":1}\n{"type":"return","process":0,"op":0}\n'
    '{"type":"invoke","process":0,"op":1,"f":"read"}\n{"type":"return","process":0,"op":1,"value":2}\n'
)


@pytest.mark.parametrize(("linearizable", "verdict"), [(True, "failed"), (False, "passed")])
def test_a_history_is_judged_as_the_index_beside_it_says(tmp_path: Path, linearizable: bool, verdict: str) -> None:
    (tmp_path / "h.jsonl").write_text(HISTORY)
    known = {"file": "open/h.jsonl", "model": "cas-register", "linearizable": linearizable}
    (tmp_path / "index.json").write_text(json.dumps({"files": [known]}))

    [file] = read_vectors([tmp_path])

    assert [outcome.verdict for outcome in file.check()] == [verdict]


def test_a_line_of_a_history_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text(HISTORY + "{\n")
    [file] = read_vectors([tmp_path])

    with pytest.raises(InvalidSpec, match=r"h.jsonl, line 5"):
        file.check()


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="no such file or folder"):
        read_vectors([tmp_path / "nothing"])


def test_a_folder_without_vectors_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="no vectors in this folder"):
        read_vectors([tmp_path])
