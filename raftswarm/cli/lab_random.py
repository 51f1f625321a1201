"""``raftswarm lab run --random``: many worlds, and what is told of them while they run and in the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from raftswarm.cli.lab_coverage import print_reached, summarize
from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, style

if TYPE_CHECKING:
    from raftswarm.lab.campaign import CampaignFile
    from raftswarm.lab.running import Order, Report, Row

BAR_WIDTH = 40
REDRAW_SECONDS = 0.2


def list_orders(
    seeds: range, seconds: float, members: int | None, directory: Path, *, keeps_all: bool, is_traced: bool
) -> list[Order]:
    """Say what is to be run; recordings go to the directory."""
    from raftswarm.lab.running import Order

    return [
        Order(
            seed=seed,
            seconds=seconds,
            members=members,
            is_traced=is_traced,
            directory=str(directory),
            keeps_all=keeps_all,
        )
        for seed in seeds
    ]


def run_once(orders: Sequence[Order], *, jobs: int, resume: Path | None, as_json: bool) -> None:
    """Run worlds and tell of each in the order of their seeds, then of all. KeyboardInterrupt leads there at once."""
    from raftswarm.lab.campaign import run_campaign
    from raftswarm.lab.running import add_up

    file = None if resume is None else _open_campaign(resume, orders[0])
    progress = _Progress(len(orders))
    known = {} if file is None else {order.seed: file.rows[order.seed] for order in orders if order.seed in file.rows}
    rows = dict(known)

    def ended(row: Row) -> None:
        rows[row.seed] = row
        if file is not None:
            file.append(row)
        progress.ended(row)

    is_interrupted = False
    with closing(run_campaign(orders, jobs=jobs, known=known, ended=ended)) as campaign:
        try:
            for row in campaign:
                progress.clear()
                if not as_json:
                    _print_row(row)
        except KeyboardInterrupt:
            is_interrupted = True
    progress.clear()
    report = add_up(rows.values())
    if as_json:
        print_json(
            {
                "totals": _total(report),
                "report": report,
                "reached": summarize(report.coverage),
                "interrupted": is_interrupted,
            }
        )
    elif rows:
        _print_report(report)
    if is_interrupted:
        way = "" if file is None else f"; the same command goes on with what is left: see {file.path}"
        click.echo(f"interrupted: {len(rows)} of {len(orders)} seeds ran{way}", err=True)
        raise KeyboardInterrupt
    exit_if(bool(report.failures))


def run_twice(orders: Sequence[Order], *, jobs: int, as_json: bool) -> None:
    """Run each world in two processes that hash strings differently, and compare the traces."""
    from raftswarm.lab.campaign import run_pairs

    different: list[dict[str, object]] = []
    violated: dict[int, str] = {}
    seeds = 0
    with closing(run_pairs(orders, jobs=jobs)) as pairs:
        for one, other in pairs:
            seeds += 1
            is_same = one.digest == other.digest
            if not is_same:
                different.append({"seed": one.seed, "digests": [one.digest, other.digest]})
            if one.violation:
                violated[one.seed] = one.violation
            if not as_json:
                verdict = style("same", "green") if is_same else style("DIFFERENT", "red")
                words = style(f"  FAILED: {one.violation}", "red") if one.violation else ""
                click.echo(f"seed {one.seed:<6} {verdict}  {one.digest} {other.digest}{words}")
    if as_json:
        identical = seeds - len(different)
        print_json({"seeds": seeds, "identical": identical, "different": different, "violated": violated})
    else:
        click.echo(f"{seeds - len(different)} of {seeds} traces are the same in two processes with different hashes")
        click.echo(f"{len(violated)} of {seeds} seeds violated something")
    exit_if(bool(different or violated))


@attrs.define(eq=False)
class _Progress:
    """A line on a terminal that is drawn anew; nothing elsewhere."""

    seeds: int
    _ended: int = 0
    _violations: int = 0
    _simulated_seconds: float = 0.0
    _began_at: float = attrs.field(factory=time.monotonic)
    _drawn_at: float = float("-inf")

    def ended(self, row: Row) -> None:
        """Count another one."""
        self._ended += 1
        self._violations += bool(row.violation)
        self._simulated_seconds += row.at
        now = time.monotonic()
        if sys.stderr.isatty() and now >= self._drawn_at + REDRAW_SECONDS:
            self._drawn_at = now
            took = now - self._began_at
            left = took / self._ended * (self.seeds - self._ended)
            words = (
                f"{self._ended} of {self.seeds} seeds, {self._violations} violated something, "
                f"{self._simulated_seconds / took:,.0f} times as fast as time, {left:,.0f} s left"
            )
            click.echo(f"\r\x1b[K{words}", nl=False, err=True)

    def clear(self) -> None:
        """Make room for a line that stays."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _open_campaign(path: Path, order: Order) -> CampaignFile:
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.campaign import open_campaign

    try:
        return open_campaign(path, seconds=order.seconds, members=order.members)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None


def _print_row(row: Row) -> None:
    verdict = style("FAILED", "red") if row.violation else style("ok    ", "green")
    words = (
        f"seed {row.seed:<6} {verdict} {row.members:>2} members, {row.at:7.1f} s, {row.events:>7} events, "
        f"{sum(row.faults.values()):>4} faults, {row.committed:>5} entries committed"
    )
    click.echo(f"{words}  {row.digest}" if row.digest else words)


def _total(report: Report) -> dict[str, float]:
    return {
        "cluster_hours": report.cluster_hours,
        "cluster_hours_per_cpu_minute": report.cluster_hours_per_cpu_minute,
        "events_per_cpu_second": report.events_per_cpu_second,
        "commits_per_seed": report.commits_per_seed,
    }


def _print_report(report: Report) -> None:
    from raftswarm.lab.running import histogram

    click.echo()
    click.echo(
        f"{report.seeds} seeds, {report.cluster_hours:.2f} cluster-hours in {report.cpu_seconds:.1f} CPU seconds "
        f"({report.cluster_hours_per_cpu_minute:.2f} in a CPU minute), {report.events_per_cpu_second:,.0f} events per "
        f"CPU second, {report.acknowledged} calls succeeded, {report.commits_per_seed:.0f} entries committed per seed"
    )
    if report.faults:
        click.echo("faults: " + ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in report.faults.items()))
    if report.strikes:
        strikes = (f"{kind} {struck.per_seed:.1f} in {struck.seeds}" for kind, struck in report.strikes.items())
        click.echo("strikes per seed, and in how many: " + ", ".join(strikes))
    print_reached(report.coverage)
    click.echo("entries committed, and in how many seeds:")
    rows = histogram(list(report.commits.values()))
    most = max(count for _, count in rows)
    for label, count in rows:
        click.echo(f"  {label:>16} {count:>5} {'#' * round(BAR_WIDTH * count / most)}")
    for failure in report.failures:
        click.echo(style(f"seed {failure.seed}, at {failure.at:.3f} s: {failure.violation}", "red"))
        click.echo(f"    recorded; see it again: raftswarm lab explain {failure.recording}")
    click.echo(f"{len(report.failures)} of {report.seeds} seeds violated something")
