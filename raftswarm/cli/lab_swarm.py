"""Scenarios of whole swarms for ``raftswarm lab run``: each by many seeds, and each seed twice if that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import click

from raftswarm.cli.lab_words import exit_if, print_json, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftswarm.lab.swarm import Outcome

ALL: Final = "swarm"
"""Stands for all of them."""
OTHER_HASHES: Final = "4711"


def scenario_titles() -> dict[str, str]:
    """What there is to run, by name."""
    from raftswarm.lab.swarm.scenarios import SCENARIOS

    return {name: scenario.title for name, scenario in SCENARIOS.items()}


def is_swarm_scenario(name: str) -> bool:
    """Tell whether it is one, or all of them."""
    return name == ALL or name in scenario_titles()


def run_swarm_scenarios(name: str, seeds: range, *, twice: bool, as_json: bool) -> None:
    """Run one scenario, or all of them, by these seeds."""
    from raftswarm.lab.replaying import describe_failure
    from raftswarm.lab.swarm.scenarios import SCENARIOS, run_scenario

    runs: list[dict[str, object]] = []
    outcomes: list[Outcome] = []
    for each in SCENARIOS if name == ALL else (name,):
        for seed in seeds:
            outcome = run_scenario(SCENARIOS[each], seed)
            failure = "" if outcome.failure is None else describe_failure(outcome.failure)
            outcomes.append(outcome)
            runs.append(
                {
                    "scenario": each,
                    "seed": seed,
                    "seconds": outcome.seconds,
                    "digest": outcome.digest,
                    "failure": failure,
                }
            )
            if not as_json:
                _print_run(each, outcome, failure)
    differing = _find_differing(name, seeds, runs) if twice else None
    failed = sum(1 for outcome in outcomes if outcome.failure is not None)
    simulated, spent = (sum(getattr(outcome, field) for outcome in outcomes) for field in ("seconds", "cpu_seconds"))
    if as_json:
        totals = {"simulated_seconds": simulated, "cpu_seconds": spent, "failed": failed, "differing": differing}
        print_json({"totals": totals, "runs": runs})
    else:
        click.echo(
            f"{len(runs) - failed} of {len(runs)} runs came to rest; {simulated:.0f} simulated seconds in "
            f"{spent:.1f} CPU seconds, {simulated / spent:.0f} in each"
        )
        if differing is not None:
            _print_differing(differing, len(runs))
    exit_if(bool(failed or differing))


def _print_run(name: str, outcome: Outcome, failure: str) -> None:
    verdict = style("FAILED", "red") if failure else style("ok    ", "green")
    click.echo(f"{name:<20} seed {outcome.seed:<6} {verdict} {outcome.seconds:7.1f} s  {outcome.digest}")
    if failure:
        click.echo(style(f"    {failure}", "red"))
        click.echo(f"    see it again: raftswarm lab run {name} --first-seed {outcome.seed} --seeds 1")


def _find_differing(name: str, seeds: range, runs: Sequence[dict[str, object]]) -> list[str]:
    """Run all of it again in a process of its own that hashes strings differently; name what was another run there."""
    import msgspec

    arguments = ["lab", "run", name, "--first-seed", str(seeds.start), "--seeds", str(len(seeds)), "--json"]
    again = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "raftswarm", *arguments],
        env={**os.environ, "PYTHONHASHSEED": OTHER_HASHES},
        stdout=subprocess.PIPE,
        check=False,
    )
    digests = {(run["scenario"], run["seed"]): run["digest"] for run in msgspec.json.decode(again.stdout)["runs"]}
    return [
        f"{run['scenario']} seed {run['seed']}"
        for run in runs
        if digests[run["scenario"], run["seed"]] != run["digest"]
    ]


def _print_differing(differing: Sequence[str], count: int) -> None:
    click.echo(f"{count - len(differing)} of {count} runs were the same in another process, with other hashes")
    for run in differing:
        click.echo(style(f"    differs: {run}", "red"))
