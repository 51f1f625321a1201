"""``raftswarm lab coverage``: what random worlds reach, and what they miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, style
from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from raftswarm.lab.coverage import Coverage
    from raftswarm.lab.reachable import Reach

SELDOM_SHARE = 100
"""Told apart: what fewer than one seed in so many has reached."""
MISSED_SHOWN = 10
"""Of a list, where it is told in one line what was reached."""
TRACED_ONE_IN = 20
"""Of seeds: there somebody listens to all that the engine tells, so that telling it is tried too."""


@click.command("coverage")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seeds", type=click.IntRange(min=0), default=0, help="Run so many random worlds, too.")
@click.option("--first-seed", type=click.IntRange(min=0), help="Default: the one behind those that are in the files.")
@click.option("--seconds", type=FiniteRange(min=0.1), default=20.0, show_default=True, help="Simulated, of each world.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the sum there.")
@click.option("--all", "shows_all", is_flag=True, help="Show all counts, not only what is missed or seldom.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    files: tuple[Path, ...],
    seeds: int,
    first_seed: int | None,
    seconds: float,
    output: Path | None,
    shows_all: bool,
    as_json: bool,
) -> None:
    """Add up what runs have reached, and say what is missing.

    FILES are what `--output` wrote. With `--seeds`, that many random worlds are run and added; what violates
    something is told, and `lab run` records it. An interrupted run leaves the sum so far in the output.

    Exit status: 0 nothing was violated, 1 something was, 2 not understood.
    """
    from raftswarm.lab.coverage import Coverage

    total = Coverage()
    for file in files:
        total.add(_read(file))
    first = total.seeds + 1 if first_seed is None else first_seed
    try:
        failed = _run(range(first, first + seeds), seconds, total)
    finally:
        if output is not None:
            _write(output, total)
    if as_json:
        print_json({"summary": summarize(total), "failed_seeds": failed, "coverage": total})
    else:
        print_coverage(total, shows_all=shows_all)
    exit_if(bool(failed))


def _run(seeds: Sequence[int], seconds: float, total: Coverage) -> list[int]:
    from raftswarm.lab.replaying import describe_failure
    from raftswarm.lab.seeds import run_seed
    from raftswarm.raft.tracing import json_lines

    failed = []
    for seed in seeds:
        outcome = run_seed(seed, seconds, events=json_lines(_forget) if seed % TRACED_ONE_IN == 0 else None)
        total.add(outcome.coverage)
        if outcome.failure is not None:
            failed.append(seed)
            violation = describe_failure(outcome.failure)
            click.echo(style(f"seed {seed}, at {outcome.ended_at:.3f} s: {violation}", "red"), err=True)
    return failed


def _forget(line: bytes) -> None:
    """Nobody needs what the engine told."""


def summarize(coverage: Coverage) -> Mapping[str, Mapping[str, object]]:
    """Return, of each kind, how much there is and was reached, and what was not."""
    from raftswarm.lab.reachable import list_reach

    return {reach.what: _summarize(reach) for reach in list_reach(coverage)}


def _summarize(reach: Reach) -> Mapping[str, object]:
    return {
        "listed": len(reach.counts),
        "reached": len(reach.counts) - len(reach.missed),
        "missed": reach.missed,
        "rare": reach.rare,
        "unreachable": reach.unreachable,
        "not_listed": reach.not_listed,
    }


def print_coverage(coverage: Coverage, *, shows_all: bool = False) -> None:
    """Print what was reached; of what was, only what is seldom, unless all is to be shown."""
    from raftswarm.lab.reachable import list_reach

    click.echo(f"coverage of {coverage.seeds} seeds:")
    for reach in list_reach(coverage):
        click.echo(_outline(reach))
        for name in reach.missed:
            click.echo(style(f"    missed   {name}", "red"))
        _print_not_listed(reach)
        if reach.rare:
            click.echo(f"    of {len(reach.rare)} that are rare, {sum(map(bool, reach.rare.values()))} reached")
        shown = {**reach.counts, **reach.rare} if shows_all else reach.seldom(coverage.seeds / SELDOM_SHARE)
        for name, count in sorted(shown.items(), key=_by_count):
            if count:
                click.echo(f"    {count:>9} {name}")
    if coverage.curve:
        points = ", ".join(f"{count} after {seeds}" for seeds, count in sorted(coverage.curve.items()))
        click.echo(f"states of the whole cluster: {len(coverage.states)}; by seeds: {points}")


def print_reached(coverage: Coverage) -> None:
    """Print one line of each list: how much was reached, and the first of what was missed."""
    from raftswarm.lab.reachable import list_reach

    for reach in list_reach(coverage):
        shown, more = ", ".join(reach.missed[:MISSED_SHOWN]), len(reach.missed) - MISSED_SHOWN
        missed = f"; missed: {shown}" if shown else ""
        click.echo(f"{_outline(reach)}{missed}{f' and {more} more' if more > 0 else ''}")
        _print_not_listed(reach)


def _outline(reach: Reach) -> str:
    hit = len(reach.counts) - len(reach.missed)
    return f"{reach.what}: {hit} of {len(reach.counts)} reached"


def _print_not_listed(reach: Reach) -> None:
    for name in reach.not_listed:
        click.echo(style(f"    reached, though it is said to be impossible or not listed: {name}", "red"))


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return item[1], item[0]


def _read(file: Path) -> Coverage:
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.coverage import read_coverage

    try:
        return read_coverage(file)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None


def _write(file: Path, coverage: Coverage) -> None:
    from raftswarm.cli.session import CommandFailed
    from raftswarm.lab.coverage import write_coverage

    try:
        write_coverage(file, coverage)
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}") from None
