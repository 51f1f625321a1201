"""``raftswarm lab``: the engine on the bench. Each command stands in a module of its own."""

from __future__ import annotations

import click

from raftswarm.cli import lab_check, lab_coverage, lab_history, lab_power_loss, lab_run, lab_study, lab_vectors


@click.group("lab")
def command() -> None:
    """Put the Raft engine on the bench."""


for _subcommand in (
    lab_check.command,
    lab_coverage.command,
    lab_history.command,
    lab_power_loss.command,
    lab_run.command,
    *lab_study.COMMANDS,
    lab_vectors.command,
):
    command.add_command(_subcommand)
