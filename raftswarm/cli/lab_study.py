"""``raftswarm lab replay``, ``fork``, ``step``, ``explain``, ``shrink`` and so on: what to do with a recording."""

from __future__ import annotations

import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, read, style, write, write_text
from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from raftswarm.lab.comparing import Side
    from raftswarm.lab.explaining import Explanation
    from raftswarm.lab.shrinking import Progress
    from raftswarm.lab.steps import Step

SHOWN_LINES = 12

_NEGATIVE = {"ignore_unknown_options": True}
"""Such as -1: a number that no step has, and no option."""
_recording = click.argument("recording", type=click.Path(path_type=Path))
_output = click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
_start = click.option("--from", "start", type=FiniteRange(min=0.0), default=0.0, help="Simulated seconds.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("replay")
@_recording
@_json
def replay(recording: Path, as_json: bool) -> None:
    """Let a recorded run happen again, and compare it with the record.

    Exit status: 0 it is the same run, whatever it violates; 1 it differs, so the engine has changed; 2 no recording.
    """
    from raftswarm.lab.replaying import find_departure, run_recording

    known = read(recording)
    ending = run_recording(known)
    departed = None if known.ending is None else find_departure(known.ending, ending)
    if as_json:
        print_json({"same": departed is None, "differs_after_step": departed, "ending": ending})
    else:
        click.echo(f"{ending.steps} steps, {ending.at:.3f} simulated seconds, digest {ending.digest}")
        if ending.violation:
            click.echo(style(f"violated: {ending.violation}", "red"))
        if departed is not None:
            click.echo(f"this is not the recorded run: it differs somewhere after step {departed}")
        elif known.ending is not None:
            click.echo("the same as recorded")
        else:
            click.echo("the file says nothing of how the run ended: it is a scenario, or its last line is cut off")
    exit_if(departed is not None)


@click.command("fork")
@_recording
@click.option("--after", "after_step", type=click.IntRange(min=0), required=True, help="The last step of the old run.")
@click.option("--seed", type=click.IntRange(min=0), required=True, help="Where chance comes from then.")
@_output
@_json
def fork(recording: Path, after_step: int, seed: int, output: Path | None, as_json: bool) -> None:
    """Let a run be the same up to a step, and draw anew what happens then.

    Exit status: 0 nothing was violated, 1 something was, 2 not understood.
    """
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.replaying import fork_recording

    try:
        forked = fork_recording(read(recording), after_step, seed)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None
    place = output or recording.with_name(f"{recording.stem}-{after_step}-{seed}.recording")
    write(place, forked)
    assert forked.ending is not None
    if as_json:
        print_json({"recording": str(place), "ending": forked.ending})
    else:
        click.echo(f"{forked.ending.steps} steps, {len(forked.faults)} faults; recorded in {place}")
        if forked.ending.violation:
            click.echo(style(f"violated: {forked.ending.violation}", "red"))
    exit_if(bool(forked.ending.violation))


@click.command("step", context_settings=_NEGATIVE)
@_recording
@click.argument("number", type=click.IntRange(min=0), default=0)
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="How many steps.")
@click.option("--quiet", "with_quiet", is_flag=True, help="Show, and count, steps in which nothing is told as well.")
@click.option("--states", is_flag=True, help="Show all members after each step.")
@_json
def step(recording: Path, number: int, count: int, with_quiet: bool, states: bool, as_json: bool) -> None:
    """Walk through a run from a step on: what happens, and what is told."""
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.replaying import look_at_steps

    try:
        shown = list(look_at_steps(read(recording), number, count, with_quiet=with_quiet))
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None
    rows: list[dict[str, Any]] = []
    for one, members in shown:
        if as_json:
            rows.append({"step": one, "states": list(members.values()) if states else []})
            continue
        click.echo(f"step {one.number}, {one.at:.6f} s: {one.event}")
        for line in _outline(one):
            click.echo(f"    {line}")
        if states:
            for member in members.values():
                click.echo(f"    {member}")
    if as_json:
        print_json(rows)


def _outline(one: Step) -> list[str]:
    rules = [
        f"{event.member}: {event.prop['because']} ({event.prop['section']})"
        for event in one.engine
        if "because" in event.prop
    ]
    return [*one.lines, *rules]


@click.command("explain", context_settings=_NEGATIVE)
@_recording
@click.argument("number", metavar="[STEP]", type=click.IntRange(min=0), required=False)
@_json
def explain(recording: Path, number: int | None, as_json: bool) -> None:
    """Say why what happened in a step happened, with the sections of the paper; without a step, why the run failed."""
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.explaining import explain as explain_step

    try:
        explanation = explain_step(read(recording), number)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None
    if as_json:
        print_json(explanation)
    else:
        _print_explanation(explanation)


def _print_explanation(explanation: Explanation) -> None:
    click.echo(f"step {explanation.step}, {explanation.at:.6f} s: {explanation.event}")
    for sentence in explanation.sentences:
        click.echo(f"    {sentence}")
    if not (explanation.sentences or explanation.changes or explanation.violation):
        click.echo("    nothing was told or changed; what arrives is taken in when its member takes its turn")
    for change in explanation.changes:
        click.echo(f"    before: {change.before or 'not there'}")
        click.echo(f"    after:  {change.after}")
    if not explanation.violation:
        return
    click.echo(style(f"violated: {explanation.violation}", "red"))
    if explanation.promise is not None:
        click.echo(f"what has to hold: {explanation.promise}")
    if explanation.contradictions:
        click.echo("what must not be:")
        for sentence in explanation.contradictions:
            click.echo(style(f"    {sentence}", "red"))
    if explanation.clue is not None:
        click.echo(f"look at step {explanation.clue.step}: {explanation.clue}")
    if explanation.story:
        click.echo("what led to it:")
    for sentence in explanation.story:
        click.echo(f"    {sentence.at:10.6f} s, step {sentence.step:<7} {sentence}")


@click.command("shrink")
@_recording
@_output
@click.option("--runs", type=click.IntRange(min=1), default=2000, show_default=True, help="Give up after so many.")
@_json
def shrink(recording: Path, output: Path | None, runs: int, as_json: bool) -> None:
    """Find the few faults without which a run would not fail as it does.

    Exit status: 0 done, 2 the run does not fail, or is no recording.
    """
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.recording import describe_fault
    from raftswarm.lab.replaying import run_recording
    from raftswarm.lab.shrinking import shrink as shrink_recording

    known = read(recording)
    live = sys.stderr.isatty()

    def report(progress: Progress) -> None:
        line = f"{progress.runs} runs: {progress.faults} faults left, {progress.seconds:.1f} simulated seconds"
        if live:
            click.echo(f"\r{line:<78}", nl=False, err=True)
        elif progress.runs % 50 == 0:
            click.echo(line, err=True)

    try:
        shrunk = shrink_recording(known, run_recording, report=report, max_runs=runs)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None
    if live:
        click.echo(err=True)
    place = output or recording.with_name(f"{recording.stem}-shrunk.recording")
    write(place, shrunk)
    assert shrunk.ending is not None
    if as_json:
        print_json({"recording": str(place), "faults_before": len(known.faults), "shrunk": shrunk})
        return
    click.echo(f"{len(known.faults)} faults before, {len(shrunk.faults)} now; {shrunk.members} members")
    for event in shrunk.faults:
        click.echo(f"    {event.at:9.3f} s  {describe_fault(event)}")
    click.echo(style(f"violated at {shrunk.ending.at:.3f} s, in step {shrunk.ending.steps}: ", "red"), nl=False)
    click.echo(style(shrunk.ending.violation, "red"))
    click.echo(f"recorded in {place}")


@click.command("diff")
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@_json
def diff(one: Path, other: Path, as_json: bool) -> None:
    """Find the first step at which two runs part.

    Exit status: 0 they are the same, 1 they differ, 2 one is no recording.
    """
    from raftswarm.lab.comparing import find_difference

    difference = find_difference(read(one), read(other))
    if as_json:
        print_json({"same": difference is None, "difference": difference})
    elif difference is None:
        click.echo("both runs are the same, step by step")
    else:
        click.echo(f"the runs are the same up to step {difference.step - 1}, when there were")
        for member in difference.before:
            click.echo(f"    {member}")
        for path, side in ((one, difference.one), (other, difference.other)):
            click.echo(f"then in {path}")
            _print_side(side, difference.step)
    exit_if(difference is not None)


def _print_side(side: Side, number: int) -> None:
    click.echo(f"    step {number}, {side.at:.6f} s: {side.event}")
    for line in side.lines[:SHOWN_LINES]:
        click.echo(f"        {line}")
    if len(side.lines) > SHOWN_LINES:
        click.echo(f"        and {len(side.lines) - SHOWN_LINES} lines more")
    for member in side.states:
        click.echo(f"    {member}")


@click.command("timeline")
@_recording
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw a picture there instead.")
@_start
@click.option("--to", "end", type=FiniteRange(min=0.0), help="Simulated seconds.")
@_json
def timeline(recording: Path, svg: Path | None, start: float, end: float | None, as_json: bool) -> None:
    """Show a run at a glance: who was what when, and what befell them."""
    from raftswarm.lab import timeline as timelines

    until = _end_after(start, end)
    drawn, _ = timelines.draw_timeline(read(recording))
    drawn = drawn.between(start, until)
    if svg is not None:
        write_text(svg, timelines.draw_svg(drawn))
    if as_json:
        print_json(drawn)
    elif svg is not None:
        click.echo(f"drawn in {svg}")
    else:
        for line in timelines.write_text(drawn):
            click.echo(line)


def _end_after(start: float, end: float | None) -> float:
    if end is not None and end <= start:
        raise click.UsageError(f"there is nothing from {start:g} s to {end:g} s: let it end after it begins")
    return inf if end is None else end


@click.command("convert")
@_recording
@click.option("--to", "form", type=click.Choice(["shiviz"]), default="shiviz", show_default=True)
@click.option("--heartbeats", is_flag=True, help="With all heartbeats, which are most of the messages.")
@_start
@click.option("--to-seconds", "end", type=FiniteRange(min=0.0), help="Simulated seconds.")
@_output
def convert(recording: Path, form: str, heartbeats: bool, start: float, end: float | None, output: Path | None) -> None:
    """Write a run in another program's form: a log with vector clocks for ShiViz."""
    from raftswarm.lab.shiviz import write_shiviz

    del form  # There is one.
    until = _end_after(start, end)
    lines = write_shiviz(read(recording), start=start, end=until, heartbeats=heartbeats)
    text = "".join(f"{line}\n" for line in lines)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
        click.echo(f"written to {output}")


COMMANDS = (replay, fork, step, explain, shrink, diff, timeline, convert)
