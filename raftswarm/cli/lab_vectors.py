"""``raftswarm lab vectors``: the engine against files of known answers."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, style

if TYPE_CHECKING:
    from raftswarm.lab.vectors import Outcome, Verdict


@click.command("vectors")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(paths: tuple[Path, ...], as_json: bool) -> None:
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
        raise NotUnderstood(str(error)) from None
    counts: Counter[Verdict] = Counter(outcome.verdict for _, outcome in outcomes)
    if as_json:
        _print_json(outcomes, counts)
    else:
        _print_text(outcomes, counts)
    exit_if(bool(counts["failed"]))


def _print_json(outcomes: list[tuple[Path, Outcome]], counts: Counter[Verdict]) -> None:
    import msgspec

    rows = [{"file": str(path), **msgspec.to_builtins(outcome)} for path, outcome in outcomes]
    summary = {verdict: counts[verdict] for verdict in ("passed", "failed", "skipped")}
    print_json({**summary, "outcomes": rows})


def _print_text(outcomes: list[tuple[Path, Outcome]], counts: Counter[Verdict]) -> None:
    colours = {"failed": "red", "skipped": "yellow", "passed": "green"}
    for path, outcome in outcomes:
        if outcome.details:
            verdict = style(f"{outcome.verdict:<7}", colours[outcome.verdict])
            click.echo(f"{verdict} {path}: {outcome.name}")
            for detail in outcome.details:
                click.echo(f"        {detail}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    click.echo(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
