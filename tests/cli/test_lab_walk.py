"""docs/lab.md, "Study a failover in ten minutes": its commands print what the page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftswarm.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"
LEFT_OUT = "..."
"""Stands for any lines."""


def list_commands(section: str) -> Iterator[tuple[str, list[str]]]:
    """Return the commands in the console blocks of a section of the page, each with what it is said to print."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, shown


def contains(printed: list[str], shown: list[str]) -> bool:
    """Tell whether the printed lines are those that are shown, but for what is left out."""
    if not shown:
        return not printed
    if shown[0] == LEFT_OUT:
        return any(contains(printed[place:], shown[1:]) for place in range(len(printed) + 1))
    return bool(printed) and printed[0].rstrip() == shown[0].rstrip() and contains(printed[1:], shown[1:])


def test_the_walk_through_a_failover(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    commands = list(list_commands("Study a failover in ten minutes"))

    assert len(commands) >= 7
    for command, shown in commands:
        program, *arguments = shlex.split(command)
        assert (program, arguments[0]) == ("raftswarm", "lab"), f"{command}: the walk is one through the lab alone"
        run(arguments)
        printed = capsys.readouterr().out.splitlines()
        assert contains(printed, shown), f"{command} prints:\n" + "\n".join(printed)


@pytest.mark.parametrize(
    ("shown", "is_contained"),
    [
        (["a", "b", "c"], True),
        (["a", "..."], True),
        (["...", "c"], True),
        (["a", "...", "c"], True),
        (["...", "b", "..."], True),
        (["a", "b"], False),
        (["b", "..."], False),
        (["...", "d", "..."], False),
        ([], False),
    ],
)
def test_what_is_left_out_is_any_lines(shown: list[str], is_contained: bool) -> None:
    assert contains(["a", "b", "c"], shown) is is_contained
