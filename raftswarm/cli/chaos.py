"""``raftswarm chaos``: daemons of this machine under faults, with clients whose histories are judged."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from raftswarm.lab.chaos import ChaosOptions, Report

INTERRUPTED = 130

_file = click.Path(path_type=Path, dir_okay=False)


@click.group("chaos")
def command() -> None:
    """Strike a swarm of real daemons with faults, and see what holds."""


def _plan_options(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--seed", type=click.IntRange(min=0), help="What the schedule is drawn from; drawn if not given."),
        click.option("--duration", type=FiniteRange(min=10), default=120, show_default=True, help="Seconds."),
        click.option("--faults", default="", help="Kinds of faults, with commas  [default: all]."),
        click.option("--targets", default="", help="Of leader, follower, worker  [default: all]."),
    ):
        function = option(function)
    return function


@command.command("plan")
@_plan_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(seed: int | None, duration: float, faults: str, targets: str, as_json: bool) -> None:
    """Show what a seed's schedule is: which fault strikes whom, when and for how long."""
    from raftswarm.cli.lab_words import print_json
    from raftswarm.cli.tables import print_table
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.chaos import KINDS, TARGETS, plan_faults

    try:
        planned = plan_faults(_seed(seed), duration, kinds=_words(faults) or KINDS, targets=_words(targets) or TARGETS)
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(planned)
        return
    print_table(
        [("AT", "FOR", "FAULT"), *((f"{fault.at:.1f} s", f"{fault.seconds:.1f} s", str(fault)) for fault in planned)]
    )


@command.command("run")
@_plan_options
@click.option("--nodes", type=click.IntRange(1, 50), default=5, show_default=True, help="How many daemons.")
@click.option("--managers", type=click.IntRange(min=1), default=3, show_default=True, help="How many of them manage.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Strike the local swarm there instead."
)
@click.option("--json", "json_file", type=_file, help="Write the report there as JSON; - for standard output.")
@click.option("--html", "html_file", type=_file, help="Write it there as a page with plots.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where history and logs are kept if something does not hold  [default: here].",
)
def run(
    seed: int | None,
    duration: float,
    faults: str,
    targets: str,
    nodes: int,
    managers: int,
    directory: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    keep: Path,
) -> None:
    """Run daemons through faults while clients read and write; judge what they saw.

    Exit status: 0 everything held, 1 something did not, 2 not understood, 130 interrupted. Nothing is left running.
    """
    from raftswarm.lab.chaos import KINDS, TARGETS, ChaosOptions

    options = ChaosOptions(
        seed=_seed(seed),
        seconds=duration,
        kinds=_words(faults) or KINDS,
        targets=_words(targets) or TARGETS,
        nodes=nodes,
        managers=min(managers, nodes),
        directory=directory,
        keep=keep,
    )
    on_stdout = str(json_file) == "-"
    for file in (html_file, None if on_stdout else json_file):
        if file is not None and not file.parent.is_dir():  # Better now than after the run.
            raise click.UsageError(f"cannot write {file}: there is no directory {file.parent}")
    report = _run(options, _Teller(sys.stderr if on_stdout else sys.stdout))
    _write(report, json_file, html_file)
    if not on_stdout:
        _print(report)
    sys.exit(0 if report.held else 1)


def _seed(given: int | None) -> int:
    return random.SystemRandom().randrange(10_000) if given is None else given


def _words(given: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _run(options: ChaosOptions, teller: _Teller) -> Report:
    from raftswarm.cli.interrupts import run_until_interrupted
    from raftswarm.errors import InvalidSpec, RaftSwarmError
    from raftswarm.lab.chaos import run_chaos

    teller.line(f"seed {options.seed}")
    try:
        return run_until_interrupted(lambda: run_chaos(options, teller))
    except InvalidSpec as error:
        raise click.UsageError(str(error)) from None
    except RaftSwarmError as error:
        click.echo(f"raftswarm chaos: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\ninterrupted; everything is cleaned up", err=True)
        sys.exit(INTERRUPTED)


def _write(report: Report, json_file: Path | None, html_file: Path | None) -> None:
    from raftswarm.lab.chaos import render_page
    from raftswarm.lab.chaos.report import encode_report

    if str(json_file) == "-":
        click.echo(encode_report(report), nl=False)
        json_file = None
    try:
        if json_file is not None:
            json_file.write_bytes(encode_report(report))
        if html_file is not None:
            html_file.write_text(render_page(report), encoding="utf-8")
    except OSError as error:
        click.echo(f"raftswarm chaos: cannot write {error.filename}: {error.strerror}", err=True)
        sys.exit(1)


class _Teller:
    """Prints what happens, a line each; what goes on meanwhile is drawn in place on a terminal."""

    def __init__(self, stream: object) -> None:
        self._to_stderr = stream is sys.stderr
        out = sys.stderr if self._to_stderr else sys.stdout
        self._live = out.isatty() and os.environ.get("TERM") != "dumb"

    def line(self, text: str) -> None:
        """Print a line."""
        click.echo(f"\r\033[K{text}" if self._live else text, err=self._to_stderr)

    def progress(self, text: str) -> None:
        """Something to see meanwhile."""
        if self._live:
            click.echo(f"\r\033[K{text}…", nl=False, err=self._to_stderr)

    def struck(self, at: float, text: str, nodes: Sequence[str]) -> None:
        """A fault has begun."""
        self.line(f"{at:6.1f} s  {text} ({', '.join(nodes)})")

    def mended(self, at: float, text: str) -> None:
        """A fault has ended."""
        del text
        self.progress(f"{at:6.1f} s  mended")


def _print(report: Report) -> None:
    from raftswarm.cli.lab_words import style
    from raftswarm.cli.tables import print_table

    click.echo()
    rows = [("FAULT", "STRUCK", "LASTED", "FAILOVER", "CONVERGENCE")]
    rows += [
        (
            strike.text,
            ", ".join(strike.nodes),
            f"{strike.ended - strike.began:.1f} s",
            _seconds(strike.failover_seconds) if strike.took_leader else "",
            _seconds(strike.convergence_seconds),
        )
        for strike in report.strikes
    ]
    print_table(rows)
    click.echo()
    print_table(
        [
            ("AVAILABLE", "LONGEST OUTAGE", "FAILOVER", "COMMITTED", "LOST", "DOUBLED", "CONVERGENCE"),
            (
                f"{report.availability:.2%}",
                f"{report.longest_outage:.2f} s",
                f"{_seconds(report.median_failover)}, worst {_seconds(max(report.failovers, default=None))}",
                str(report.committed),
                str(report.lost),
                str(report.doubled),
                _seconds(report.convergence_seconds),
            ),
        ]
    )
    click.echo()
    for check in report.checks:
        mark = style("ok    ", "green") if check.held else style("FAILED", "red")
        click.echo(f"{mark}  {check.name}: {check.seen}")
    if report.kept:
        click.echo(f"\nhistory and logs: {report.kept}")
        click.echo(f"judge it again:   raftswarm lab check {report.kept}/history.jsonl")


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
