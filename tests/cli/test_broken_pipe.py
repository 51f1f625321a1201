"""Whoever reads our output may leave at any time, as ``head`` does: no command says anything about that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from raftswarm.cli.main import group, run

ROOT = Path(__file__).parents[2]


def run_with_a_reader_that_leaves(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run the command line into a pipe whose other end is closed; return its exit status and what it complains of."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "raftswarm", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("lab", "run"),
        ("lab", "run", "quiet"),
        ("lab", "run", "--random", "--seeds", "1", "--seconds", "1"),
        ("lab", "check", "history.jsonl"),
        ("lab", "check", "history.jsonl", "--json"),
        ("chaos", "plan", "--seed", "1"),
        ("swarm", "--help"),
    ],
)
def test_nobody_is_told_of_a_reader_that_left(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(
        '{"type":"invoke","process":0,"op":0,"f":"write","value":1}\n{"type":"return","process":0,"op":0}\n'
    )

    status, complaints = run_with_a_reader_that_leaves(*arguments, cwd=tmp_path)

    assert (status, complaints) == (1, "")


def test_a_reader_that_left_is_seen_through_the_groups_of_nurseries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> None:
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                await trio.lowlevel.checkpoint()
                raise BrokenPipeError

            nursery.start_soon(fail)

    monkeypatch.setattr(group, "main", lambda **_: trio.run(write))

    assert run(["chaos"]) == 1


def test_other_failures_are_still_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ExceptionGroup("two", [BrokenPipeError(), ValueError()])

    monkeypatch.setattr(group, "main", fail)

    with pytest.raises(ExceptionGroup):
        run(["chaos"])
