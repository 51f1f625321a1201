"""``raftswarm lab``: the engine on the bench."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from raftswarm.lab.vectors import Outcome, Verdict


@click.group("lab")
def command() -> None:
    """Put the Raft engine on the bench."""


class _BadVectors(click.ClickException):
    """A file that is not what it should be: not understood."""

    exit_code = 2


@command.command("vectors")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def vectors(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check the engine against files of test vectors and scenarios, or folders of them.

    Prints what differs. Exit status: 0 all passed or skipped, 1 something failed, 2 a file is not understood.
    """
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.vectors import read_vectors

    outcomes: list[tuple[Path, Outcome]] = []
    try:
        files = read_vectors(paths)
        with click.progressbar(files, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            for file in bar:
                outcomes += [(file.path, outcome) for outcome in file.check()]
    except InvalidSpec as error:
        raise _BadVectors(str(error)) from None
    counts: Counter[Verdict] = Counter(outcome.verdict for _, outcome in outcomes)
    if as_json:
        _print_json(outcomes, counts)
    else:
        _print_text(outcomes, counts)
    if counts["failed"]:
        from raftswarm.cli.session import ItemsFailed

        raise ItemsFailed


def _print_json(outcomes: list[tuple[Path, Outcome]], counts: Counter[Verdict]) -> None:
    import msgspec

    rows = [{"file": str(path), **msgspec.to_builtins(outcome)} for path, outcome in outcomes]
    summary = {verdict: counts[verdict] for verdict in ("passed", "failed", "skipped")}
    click.echo(msgspec.json.format(msgspec.json.encode({**summary, "outcomes": rows}), indent=2))


def _print_text(outcomes: list[tuple[Path, Outcome]], counts: Counter[Verdict]) -> None:
    colours = {"failed": "red", "skipped": "yellow", "passed": "green"} if "NO_COLOR" not in os.environ else {}
    for path, outcome in outcomes:
        if outcome.details:
            verdict = click.style(f"{outcome.verdict:<7}", fg=colours.get(outcome.verdict))
            click.echo(f"{verdict} {path}: {outcome.name}")
            for detail in outcome.details:
                click.echo(f"        {detail}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    click.echo(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
