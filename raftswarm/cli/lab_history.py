"""``raftswarm lab history``: what clients of a simulated cluster saw, with a lie in it if wished."""

from __future__ import annotations

from pathlib import Path

import click

from raftswarm.cli.lab_words import NotUnderstood, print_json
from raftswarm.cli.session import CommandFailed


@click.command("history")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where it goes.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--clients", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--operations", type=click.IntRange(min=1), default=1700, show_default=True)
@click.option("--plant", type=click.Choice(["lost", "repeated", "swapped"]), help="Falsify one answer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(output: Path, seed: int, clients: int, operations: int, plant: str | None, as_json: bool) -> None:
    """Let clients use a simulated cluster under faults, and write down what they saw, for `lab check`.

    What they see is linearizable. With --plant the answer of one get is falsified such that it is not: an acknowledged
    append is lost, something that was appended once is there twice, or two texts are in the wrong order.

    Exit status: 0 it is written, 1 it cannot be, 2 not understood.
    """
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab import client_histories
    from raftswarm.lab.linearizability import read_history, write_history

    lie = None
    try:
        history = client_histories.record_history(seed, clients=clients, operations=operations)
        if plant is not None:
            history, lie = client_histories.plant(history, plant, seed)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None
    try:
        write_history(output, history)
    except OSError as error:
        raise CommandFailed(f"cannot write {output}: {error.strerror}") from None
    if lie is not None:
        lie = read_history(output)[history.index(lie)]  # Times are line numbers there.
    if as_json:
        print_json({"file": str(output), "operations": len(history), "planted": None if lie is None else str(lie)})
        return
    click.echo(f"{output}: {len(history)} operations of {clients} clients")
    if lie is not None:
        click.echo(f"planted: {lie}")
