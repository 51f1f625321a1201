"""``raftswarm lab run``: scenarios, and random worlds by their seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli import lab_swarm
from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, read, style, write

if TYPE_CHECKING:
    from raftswarm.lab.recording import Recording
    from raftswarm.lab.running import Report
    from raftswarm.lab.seeds import SeedOutcome

BAR_WIDTH = 40


@click.command("run")
@click.argument("scenario", required=False)
@click.option("--random", "is_random", is_flag=True, help="Run worlds in which everything is drawn from a seed.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="How many worlds.")
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=20.0,
    show_default=True,
    help="Simulated, until the faults end.",
)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Where recordings go; default: here.")
@click.option("--keep-all", is_flag=True, help="Record runs that go well, too.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Record the scenario's run there."
)
@click.option("--twice", is_flag=True, help="Run scenarios of whole swarms again in another process, and compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    scenario: str | None,
    is_random: bool,
    seeds: int,
    first_seed: int,
    seconds: float,
    keep: Path | None,
    keep_all: bool,
    output: Path | None,
    twice: bool,
    as_json: bool,
) -> None:
    """Run a scenario (a name, or a recording's file), or random worlds, and check all invariants meanwhile.

    Scenarios of whole swarms run once for each of the --seeds.

    Without arguments the scenarios are listed. What violates something is recorded, to be replayed, explained and
    shrunk. Exit status: 0 nothing was violated, 1 something was, 2 not understood.
    """
    if is_random and scenario is not None:
        raise click.UsageError("run either a scenario or --random worlds")
    seeds_asked = range(first_seed, first_seed + seeds)
    is_of_a_swarm = scenario is not None and lab_swarm.is_swarm_scenario(scenario)
    if is_of_a_swarm and output is not None:
        raise click.UsageError("runs of whole swarms are not recorded: their seed is all it takes to run them again")
    if twice and not is_of_a_swarm:
        raise click.UsageError("--twice is for scenarios of whole swarms; what others do again, `lab replay` says")
    if scenario is not None and is_of_a_swarm:
        lab_swarm.run_swarm_scenarios(scenario, seeds_asked, twice=twice, as_json=as_json)
    elif is_random:
        _run_random(seeds_asked, seconds, keep or Path(), keep_all=keep_all, as_json=as_json)
    elif scenario is not None:
        _run_scenario(_find(scenario), output, as_json=as_json)
    else:
        _list_scenarios(as_json=as_json)


def _list_scenarios(*, as_json: bool) -> None:
    from raftswarm.lab.scenarios import SCENARIOS

    if as_json:
        print_json({name: scenario.title for name, scenario in SCENARIOS.items()} | lab_swarm.scenario_titles())
        return
    click.echo("Run one of these, a recording, or --random worlds:")
    for name, scenario in SCENARIOS.items():
        click.echo(f"  {name:<12}{scenario.title}")
    click.echo(f"Or one of whole swarms, by so many --seeds; {lab_swarm.ALL} is all of them:")
    for name, title in lab_swarm.scenario_titles().items():
        click.echo(f"  {name:<20}{title}")


def _find(name: str) -> Recording:
    from raftswarm.lab.scenarios import SCENARIOS

    if name in SCENARIOS:
        return SCENARIOS[name]
    if not Path(name).exists():
        raise NotUnderstood(f"there is no scenario and no file {name!r}; scenarios are {', '.join(SCENARIOS)}")
    return read(Path(name))


def _run_scenario(scenario: Recording, output: Path | None, *, as_json: bool) -> None:
    import msgspec

    from raftswarm.lab.timeline import draw_timeline, write_text

    timeline, ending = draw_timeline(scenario)
    if output is not None:
        write(output, msgspec.structs.replace(scenario, ending=ending))
    if as_json:
        print_json({"title": scenario.title, "ending": ending, "recording": str(output) if output else None})
    else:
        for line in write_text(timeline):
            click.echo(line)
        click.echo(f"{ending.steps} steps, {ending.at:.3f} simulated seconds, digest {ending.digest}")
        if output is not None:
            click.echo(f"recorded in {output}")
        if ending.violation:
            click.echo(style(f"violated: {ending.violation}", "red"))
    exit_if(bool(ending.violation))


# Random worlds.


def _run_random(seeds: range, seconds: float, directory: Path, *, keep_all: bool, as_json: bool) -> None:
    from raftswarm.lab.running import Campaign, finish_recording

    def record(outcome: SeedOutcome) -> str:
        path = directory / f"seed-{outcome.seed}.recording"
        directory.mkdir(parents=True, exist_ok=True)
        write(path, finish_recording(outcome))
        return str(path)

    campaign = Campaign(seconds, record)
    for seed in seeds:
        outcome = campaign.run(seed)
        if keep_all and outcome.failure is None:
            record(outcome)
        if not as_json:
            _print_outcome(outcome)
    if as_json:
        report = campaign.report
        totals = {"cluster_hours": report.cluster_hours, "events_per_cpu_second": report.events_per_cpu_second}
        print_json({"totals": totals, "report": report})
    else:
        _print_report(campaign.report)
    exit_if(bool(campaign.report.failures))


def _print_outcome(outcome: SeedOutcome) -> None:
    verdict = style("ok    ", "green") if outcome.failure is None else style("FAILED", "red")
    click.echo(
        f"seed {outcome.seed:<6} {verdict} {outcome.members:>2} members, {outcome.ended_at:7.1f} s, "
        f"{outcome.events:>7} events, {sum(outcome.struck_by_kind.values()):>4} faults, "
        f"{outcome.last_committed:>5} entries committed"
    )


def _print_report(report: Report) -> None:
    from raftswarm.lab.running import histogram

    click.echo()
    click.echo(
        f"{report.seeds} seeds, {report.cluster_hours:.2f} cluster-hours in {report.cpu_seconds:.1f} CPU seconds, "
        f"{report.events_per_cpu_second:,.0f} events per CPU second, {report.acknowledged} calls succeeded"
    )
    if report.faults:
        click.echo("faults: " + ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in report.faults.items()))
    click.echo("entries committed, and in how many seeds:")
    rows = histogram(list(report.commits.values()))
    most = max(count for _, count in rows)
    for label, count in rows:
        click.echo(f"  {label:>16} {count:>5} {'#' * round(BAR_WIDTH * count / most)}")
    for failure in report.failures:
        click.echo(style(f"seed {failure.seed}, at {failure.at:.3f} s: {failure.violation}", "red"))
        click.echo(f"    recorded; see it again: raftswarm lab explain {failure.recording}")
    click.echo(f"{len(report.failures)} of {report.seeds} seeds violated something")
