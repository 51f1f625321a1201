"""What a swarm under faults still does: the same scenarios every time, one line for each.

Five daemons, three of them managers; clients read and write through every manager while faults strike by a schedule
that depends on the seed alone. Every check has to hold: lost and doubled must be 0. Of the others, availability and
commits are better when higher, times when lower.

    python benchmarks/chaos.py [--quick] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from benchmarks.harness.surroundings import load_average, one_at_a_time
from benchmarks.harness.tables import figure, render
from raftswarm.lab.chaos import KINDS, TARGETS, ChaosOptions, Report, run_chaos

SECONDS = 90.0
QUICK_SECONDS = 24.0
LEADER = ("leader",)
HEADER = (
    "scenario",
    "faults",
    "available, %",
    "longest outage, s",
    "failovers",
    "median, s",
    "worst, s",
    "committed",
    "lost",
    "doubled",
    "convergence, s",
    "held",
)


@attrs.frozen
class Scenario:
    """Which faults strike whom."""

    title: str
    kinds: Sequence[str]
    targets: Sequence[str] = LEADER


SCENARIOS = (
    Scenario("leader killed", ("kill",)),
    Scenario("leader paused", ("pause",)),
    Scenario("leader's network", ("partition",)),
    Scenario("leader's disk slow", ("slow-disk",)),
    Scenario("leader's disk full", ("full-disk",)),
    Scenario("leader's clock", ("clock",)),
    Scenario("workers", ("kill", "pause", "partition"), ("worker",)),
    Scenario("everything", KINDS, TARGETS),
)


class Silent:
    """Nobody looks on."""

    def progress(self, text: str) -> None:
        """Say nothing."""

    def struck(self, at: float, text: str, nodes: Sequence[str]) -> None:
        """Say nothing."""

    def mended(self, at: float, text: str) -> None:
        """Say nothing."""


def row(scenario: Scenario, report: Report) -> list[str]:
    """One line of the table."""
    return [
        scenario.title,
        str(len(report.strikes)),
        f"{report.availability * 100:.1f}",
        figure(report.longest_outage),
        str(len(report.failovers)),
        figure(report.median_failover),
        figure(max(report.failovers, default=None)),
        figure(report.committed),
        str(report.lost),
        str(report.doubled),
        figure(report.convergence_seconds),
        "yes" if report.held else "NO",
    ]


async def main(seconds: float, seed: int) -> bool:
    """Run all; tell whether everything held."""
    print(f"load before: {load_average():.2f}", flush=True)
    rows = []
    held = True
    for scenario in SCENARIOS:
        options = ChaosOptions(
            seed=seed, seconds=seconds, kinds=scenario.kinds, targets=scenario.targets, keep=Path("chaos-failures")
        )
        report = await run_chaos(options, Silent())
        assert report.committed > 0, "measured something else"
        rows.append(row(scenario, report))
        held = held and report.held
        print(f"  {scenario.title}: {'held' if report.held else f'did NOT hold, see {report.kept}'}", flush=True)
    print(f"load after: {load_average():.2f}\n\n{render(HEADER, rows)}")
    return held


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:g} s each instead of {SECONDS:g}")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with one_at_a_time():
        all_held = trio.run(main, QUICK_SECONDS if arguments.quick else SECONDS, arguments.seed)
    sys.exit(0 if all_held else 1)
