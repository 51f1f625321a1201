"""``raftswarm local``: a swarm of daemons on this machine."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli import local_conditions
from raftswarm.cli.local_words import directory_option, run_local

if TYPE_CHECKING:
    from raftswarm.local import LocalNode, LocalSwarm


@click.group("local")
def command() -> None:
    """Run a whole swarm on this machine, each node a process with its own address."""


@command.command("up")
@click.option("--managers", default=3, show_default=True, help="How many managers.")
@click.option("--workers", default=2, show_default=True, help="How many workers.")
@directory_option
@click.option("--name-prefix", default="docker", show_default=True, help="Nodes are named PREFIX1, PREFIX2, …")
@click.option("--no-init", is_flag=True, help="Only start the daemons; init and join by hand.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up(managers: int, workers: int, directory: Path, name_prefix: str, no_init: bool, as_json: bool) -> None:
    """Start daemons and form a swarm of them."""
    from raftswarm.local import LocalSwarm

    async def bring_up() -> LocalSwarm:
        swarm = LocalSwarm.create(directory, managers=managers, workers=workers, name_prefix=name_prefix)
        try:
            await swarm.start(*swarm.nodes)
            if not no_init:
                await swarm.form(lambda line: click.echo(line, err=True))
        except BaseException:
            with trio.CancelScope(shield=True):
                await swarm.down()
            raise
        return swarm

    import trio

    _show(run_local(bring_up), as_json=as_json)


@command.command("ps")
@directory_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(directory: Path, as_json: bool) -> None:
    """List the nodes and whether their daemons run."""
    _show(run_local(lambda: _open(directory)), as_json=as_json)


def _on_node(name: str, help_text: str, act: Callable[[LocalSwarm, LocalNode], Awaitable[None]]) -> None:
    @command.command(name, help=help_text)
    @click.argument("node", metavar="NAME")
    @directory_option
    def run(node: str, directory: Path) -> None:
        async def go() -> None:
            swarm = await _open(directory)
            await act(swarm, swarm.node(node))

        run_local(go)
        click.echo(node)


async def _stop(swarm: LocalSwarm, node: LocalNode) -> None:
    await swarm.stop(node)


async def _start(swarm: LocalSwarm, node: LocalNode) -> None:
    await swarm.start(node)


async def _pause(swarm: LocalSwarm, node: LocalNode) -> None:
    swarm.pause(node)


async def _resume(swarm: LocalSwarm, node: LocalNode) -> None:
    swarm.resume(node)


_on_node("stop", "Stop a daemon (SIGTERM).", _stop)
_on_node("start", "Start a daemon again.", _start)
_on_node("pause", "Freeze a daemon (SIGSTOP).", _pause)
_on_node("resume", "Let a frozen daemon go on (SIGCONT).", _resume)


@command.command("kill")
@click.argument("node", metavar="NAME")
@click.option("--machine", is_flag=True, help="Kill its tasks too, as if the machine lost power.")
@directory_option
def kill(node: str, machine: bool, directory: Path) -> None:
    """Kill a daemon (SIGKILL)."""

    async def go() -> None:
        swarm = await _open(directory)
        await swarm.kill(swarm.node(node), machine=machine)

    run_local(go)
    click.echo(node)


@command.command("down")
@directory_option
def down(directory: Path) -> None:
    """End all daemons and tasks and remove their state."""

    async def go() -> None:
        await (await _open(directory)).down()

    run_local(go)


async def _open(directory: Path) -> LocalSwarm:
    from raftswarm.local import LocalSwarm

    return LocalSwarm.open(directory)


def _show(swarm: LocalSwarm, *, as_json: bool) -> None:
    if as_json:
        nodes = [
            {
                "name": node.name,
                "role": node.role,
                "address": node.address,
                "pid": node.pid,
                "docker_host": node.docker_host,
                "state_dir": node.state_dir,
            }
            for node in swarm.nodes
        ]
        click.echo(json.dumps({"nodes": nodes}))
        return
    rows = [("NAME", "ROLE", "ADDRESS", "STATE", "PID", "DOCKER_HOST")]
    rows += [
        (node.name, node.role, f"{node.address}:2377", node.state, str(node.pid or "-"), node.docker_host)
        for node in swarm.nodes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


for _subcommand in local_conditions.COMMANDS:
    command.add_command(_subcommand)
