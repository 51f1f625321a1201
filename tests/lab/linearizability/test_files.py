"""Histories as files of events."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.linearizability import (
    MODELS,
    Operation,
    Outcome,
    Sequential,
    check_history_file,
    model_of,
    parse_history,
    read_history,
    write_history,
)

HISTORY = b"""\
{"type":"invoke","process":0,"op":0,"f":"write","value":1}
{"type":"invoke","process":1,"op":1,"f":"cas","from":1,"to":2}
{"type":"return","process":0,"op":0}
{"type":"return","process":1,"op":1,"swapped":true}
{"type":"invoke","process":0,"op":2,"f":"read"}
{"type":"unknown","process":0,"op":2}
"""


def test_lines_become_operations() -> None:
    write, cas, read = parse_history(HISTORY.splitlines())

    assert write == Operation(client=0, kind="write", argument=1, invoked=1, returned=3)
    assert cas == Operation(client=1, kind="cas", argument=(1, 2), result=True, invoked=2, returned=4)
    assert read == Operation(client=0, kind="read", invoked=5)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    history = [
        Operation(client=0, kind="add", argument="a", result=True, key="s", invoked=1, returned=3),
        Operation(client=1, kind="members", result=frozenset({"a", "b"}), key="s", invoked=2, returned=4),
        Operation(client=1, kind="discard", argument="a", key="s", invoked=5),
    ]

    write_history(tmp_path / "h.jsonl", history)

    assert read_history(tmp_path / "h.jsonl") == history
    assert check_history_file(tmp_path / "h.jsonl").outcome is Outcome.REFUTED, "nobody added b"


def test_calls_that_touch_are_concurrent_also_in_a_file(tmp_path: Path) -> None:
    history = [
        Operation(client=0, kind="read", result=1, invoked=0, returned=1),
        Operation(client=1, kind="write", argument=1, invoked=1, returned=2),
    ]

    write_history(tmp_path / "h.jsonl", history)

    assert check_history_file(tmp_path / "h.jsonl").is_linearizable


def test_the_model_is_the_one_that_has_the_operations() -> None:
    assert model_of([Operation(client=0, kind="get", invoked=0)]) == Sequential()
    with pytest.raises(InvalidSpec, match="no model has all of pop, read"):
        model_of([Operation(client=0, kind=kind, invoked=0) for kind in ("read", "pop")])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "line 7"),
        (b"[]", "line 7"),
        (b'{"type":"invoke","process":0,"op":9}', "line 7: no field 'f'"),
        (b'{"type":"invoke","process":0,"op":0,"f":"read"}', "invoked twice"),
        (b'{"type":"return","process":0,"op":0}', "not under way"),
        (b'{"type":"return","process":0,"op":99}', "not under way"),
        (b'{"type":"end","process":0,"op":0}', "not a type of event"),
        (b'{"type":"invoke","process":0,"op":[9],"f":"read"}', "line 7"),
        (b'{"type":"invoke","process":0,"op":9,"f":"cas","from":1}', "line 7: no field 'to'"),
    ],
)
def test_a_bad_line_is_named(line: bytes, complaint: str) -> None:
    with pytest.raises(InvalidSpec, match=complaint):
        parse_history([*HISTORY.splitlines(), line])


def test_values_that_do_not_suit_the_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"type":"invoke","process":0,"op":0,"f":"append","value":7}\n{"type":"return","process":0,"op":0}')

    with pytest.raises(InvalidSpec, match="not as the model has them"):
        check_history_file(path)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="no model is called 'stack'; there are " + ", ".join(MODELS)):
        check_history_file(tmp_path / "h.jsonl", model="stack")
