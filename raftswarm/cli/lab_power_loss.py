"""``raftswarm lab power-loss``: the power fails at every disk call of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from raftswarm.cli.lab_words import exit_if, print_json, style
from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from collections import Counter

    from raftswarm.lab.power_loss import Tally


@click.command("power-loss")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many worlds.")
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--seconds", type=FiniteRange(min=0.1), default=5.0, show_default=True, help="Simulated, of each.")
@click.option("--members", type=click.IntRange(min=1, max=9), default=3, show_default=True)
@click.option("--budget", type=FiniteRange(min=1.0), help="Begin more worlds until so many real seconds are over.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(seeds: int, first_seed: int, seconds: float, members: int, budget: float | None, as_json: bool) -> None:
    """Let the power fail at every disk call, of one, some and all machines, and look for what was acknowledged.

    Before each call that changes or syncs something, copies of the disk are recovered as the power might leave it. Now
    and then it does fail, and the run goes on with what is left. Exit status: 0 nothing was lost and every copy could
    be recovered, 1 otherwise.
    """
    import attrs

    from raftswarm.lab.power_loss import Tally, run_power_loss

    total = Tally()
    seed = first_seed
    until = time.monotonic() + (budget or 0.0)
    while seed < first_seed + seeds or time.monotonic() < until:
        tally = run_power_loss(seed, seconds, members=members)
        total.add(tally)
        if not as_json:
            _print_seed(seed, tally)
        seed += 1
    if as_json:
        print_json({"seeds": seed - first_seed, "members": members, **attrs.asdict(total)})
    else:
        _print_total(seed - first_seed, total)
    exit_if(bool(total.violations))


def _print_seed(seed: int, tally: Tally) -> None:
    verdict = style("FAILED", "red") if tally.violations else style("ok    ", "green")
    click.echo(
        f"seed {seed:<6} {verdict} {tally.simulated_seconds:6.1f} s, {tally.disk_calls.total():>6,} disk calls, "
        f"{tally.images.total():>7,} images, {tally.failures_of.total():>3} failures of power, "
        f"{tally.acknowledged:>5,} writes acknowledged"
    )
    for violation in tally.violations:
        click.echo(style(f"    {violation}", "red"))


def _print_total(seeds: int, total: Tally) -> None:
    click.echo()
    click.echo(f"{seeds} seeds, {total.simulated_seconds:,.0f} simulated seconds")
    click.echo(f"disk calls at which the power could fail: {_list(total.disk_calls)}")
    click.echo(f"disks recovered, what was not synced being: {_list(total.images)}")
    click.echo(
        f"    writes cut at every byte {total.cut_whole:,}; disks that held more than was promised {total.ahead:,}"
    )
    click.echo(f"moments at which all machines failed at once: {total.clusters:,}")
    click.echo(f"failures that happened, by how many machines at once: {_list(total.failures_of)}")
    click.echo(f"    starts that were cut by one more: {total.recoveries_cut:,}")
    click.echo(f"{total.acknowledged:,} writes acknowledged; {len(total.violations)} of {seeds} seeds lost something")


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) + f" ({counts.total():,})"
