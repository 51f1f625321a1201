"""docs/lab.md, "Study a failover in ten minutes": its commands print what the page shows.

Steps and times change with the engine. So numbers are not compared, and a command that names a step of the page is
given the one that stands in its place now.
"""

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
    """Tell whether the printed lines are those that are shown, but for their numbers and for what is left out."""
    return pair(printed, shown) is not None


def pair(printed: list[str], shown: list[str]) -> list[tuple[str, str]] | None:
    """Return each line that is shown with the one that is printed for it; None if some other is."""
    if not shown:
        return None if printed else []
    if shown[0] == LEFT_OUT:
        rests = (pair(printed[place:], shown[1:]) for place in range(len(printed) + 1))
        return next((rest for rest in rests if rest is not None), None)
    if not printed or outline(printed[0]) != outline(shown[0]):
        return None
    rest = pair(printed[1:], shown[1:])
    return None if rest is None else [(shown[0], printed[0]), *rest]


def outline(line: str) -> str:
    """Leave numbers out, and how much room they take: they change with the engine."""
    return re.sub(r"\s+", " ", re.sub(r"[0-9a-f]{32}|\d+", "#", line)).strip()


def list_steps(line: str) -> list[str]:
    """Return what may be numbers of steps: no fractions of a second, and no small ones."""
    return re.findall(r"(?<![\w.])\d{3,}(?![\w.])", line)


def test_the_walk_through_a_failover(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    commands = list(list_commands("Study a failover in ten minutes"))
    known: dict[str, str] = {}
    """What the steps of the page are now."""

    assert len(commands) >= 7
    for command, shown in commands:
        program, *arguments = (known.get(word, word) for word in shlex.split(command))
        assert (program, arguments[0]) == ("raftswarm", "lab"), f"{command}: the walk is one through the lab alone"
        run(arguments)
        printed = capsys.readouterr().out.splitlines()
        pairs = pair(printed, shown)
        assert pairs is not None, f"{command} prints:\n" + "\n".join(printed)
        for one, other in pairs:
            known.update(zip(list_steps(one), list_steps(other), strict=False))


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
