"""The entry point: a group whose commands are imported when they are called, and one place for errors.

Exit status: 0 done, 1 failed or refused, 2 not understood, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, Never

import click

COMMANDS: Final = {
    "chaos": "Strike a swarm with faults, and see what holds",
    "daemon": "Run a node of a swarm",
    "demo": "Watch a swarm survive, in under a minute",
    "info": "Display what an engine says about itself",
    "lab": "Put the Raft engine on the bench",
    "local": "Run a swarm of daemons on this machine",
    "node": "Manage the nodes of a swarm",
    "service": "Manage services",
    "storage": "Look at what a stopped node keeps on disk",
    "swarm": "Manage the swarm itself",
    "task": "Look at single tasks",
    "version": "Show the versions of client and engine",
}
"""Each is ``command`` in the module of its name: here only its help, so that ``--help`` imports nothing."""


class LazyGroup(click.Group):
    """Knows its commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(f"raftswarm.cli.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"raftswarm {version('raftswarm')}")
        except PackageNotFoundError:
            click.echo("raftswarm (not installed)")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-H", "--host", metavar="ADDRESS", help="Engine to talk to, such as unix:///path or tcp://host:port")
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show version")
def group(host: str | None) -> None:
    """Swarm mode: services on many machines, replicated by Raft.

    Without -H the engine is the one in RAFTSWARM_HOST, DOCKER_HOST, or the default socket.
    """
    del host  # Read from the context by whoever connects.


def main(arguments: Sequence[str] | None = None) -> Never:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        group.main(args=None if arguments is None else list(arguments), prog_name="raftswarm", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if _is_broken_pipe(error):
            _say_no_more()
            return 1
        from raftswarm.cli.session import explain

        message = explain(error)
        if message is None:
            raise
        click.echo(message, err=True)
        return 1
    return 0


def _is_broken_pipe(error: BaseException) -> bool:
    """Tell whether all that failed is that whoever read our output has left; nurseries wrap it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_pipe, error.exceptions))
    return isinstance(error, BrokenPipeError)


def _say_no_more() -> None:
    """Nobody is told: not by us, and not by the interpreter when it flushes what is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # A test's is no file.
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
