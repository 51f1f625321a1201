"""``raftswarm lab run``: scenarios, and random worlds by their seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from raftswarm.cli import lab_random, lab_swarm
from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, read, style, write
from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from raftswarm.lab.recording import Recording


LISTED: Final = "a list of scenarios: name one, or say --random"
FITTING: Final = {
    LISTED: {"as_json"},
    "a scenario": {"scenario", "output", "as_json"},
    "a scenario of a swarm": {"scenario", "seeds", "first_seed", "twice", "as_json"},
    "random worlds": {
        *("is_random", "seeds", "first_seed", "seconds", "members", "as_json"),
        *("keep", "keep_all", "jobs", "resume", "digests", "twice"),
    },
}
"""Which parameters mean something for what is run."""


@click.command("run")
@click.argument("scenario", required=False)
@click.option("--random", "is_random", is_flag=True, help="Run worlds in which everything is drawn from a seed.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="How many worlds.")
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1),
    default=20.0,
    show_default=True,
    help="Simulated, until the faults end.",
)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Where recordings go; default: here.")
@click.option("--keep-all", is_flag=True, help="Record runs that go well, too.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Record the scenario's run there."
)
@click.option(
    "--members",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="With which a random world begins; 0: the seed draws that, too.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=lab_random.count_cores,
    show_default="one for each core",
    help="Random worlds at a time, each in a process of its own.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Put down there what came of each world, and leave out those that are there already.",
)
@click.option("--digests", is_flag=True, help="Print a digest of all that happens in each world.")
@click.option(
    "--twice", is_flag=True, help="Run each world in two processes with different string hashes; compare digests."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    scenario: str | None,
    is_random: bool,
    seeds: int,
    first_seed: int,
    seconds: float,
    keep: Path | None,
    keep_all: bool,
    members: int,
    jobs: int,
    resume: Path | None,
    digests: bool,
    twice: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run a scenario (a name, or a recording's file), or random worlds, and check all invariants meanwhile.

    Scenarios of whole swarms run once for each of the --seeds.

    Without arguments the scenarios are listed. What violates something is recorded, to be replayed, explained and
    shrunk. Worlds depend on their seeds alone: how many run at a time changes nothing of what is found.

    Exit status: 0 nothing was violated, 1 something was, 2 not understood, 130 interrupted.
    """
    if is_random and scenario is not None:
        raise click.UsageError("run either a scenario or --random worlds")
    is_of_a_swarm = scenario is not None and lab_swarm.is_swarm_scenario(scenario)
    if is_of_a_swarm and output is not None:
        raise click.UsageError("runs of whole swarms are not recorded: their seed is all it takes to run them again")
    if twice and not (is_of_a_swarm or is_random):
        raise click.UsageError("--twice is for random worlds and whole swarms; what others do again, `lab replay` says")
    if is_random:
        kind = "random worlds"
    else:
        kind = LISTED if scenario is None else "a scenario of a swarm" if is_of_a_swarm else "a scenario"
    _require_fit(kind)
    asked = range(first_seed, first_seed + seeds)
    if scenario is not None and is_of_a_swarm:
        lab_swarm.run_swarm_scenarios(scenario, asked, twice=twice, as_json=as_json)
    elif is_random:
        from raftswarm.cli.interrupts import terminated_as_interrupted

        if twice and resume is not None:
            raise click.UsageError("--twice puts nothing down: leave --resume out")
        orders = lab_random.list_orders(
            asked, seconds, members or None, keep or Path(), keeps_all=keep_all, is_traced=digests
        )
        with terminated_as_interrupted():
            if twice:
                lab_random.run_twice(orders, jobs=jobs, as_json=as_json)
            else:
                lab_random.run_once(orders, jobs=jobs, resume=resume, as_json=as_json)
    elif scenario is not None:
        _run_scenario(_find(scenario), output, as_json=as_json)
    else:
        _list_scenarios(as_json=as_json)


def _require_fit(what: str) -> None:
    """Refuse what would be without effect; UsageError."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in FITTING[what] and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} has no meaning for {what}")


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
