"""What the commands of local swarms share."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

T = TypeVar("T")

DEFAULT_DIRECTORY = ".raftswarm"

directory_option = click.option(
    "--dir",
    "directory",
    default=DEFAULT_DIRECTORY,
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the local swarm.",
)


def run_local(act: Callable[[], Awaitable[T]]) -> T:
    """Run the work of a command; what goes wrong is said in a line, and ends it with status 1."""
    from raftswarm.cli.interrupts import run_until_interrupted
    from raftswarm.errors import RaftSwarmError

    try:
        return run_until_interrupted(act)
    except RaftSwarmError as error:
        click.echo(f"raftswarm local: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
