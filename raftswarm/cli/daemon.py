"""``raftswarm daemon``: one node of a swarm, in the foreground."""

from __future__ import annotations

import socket
import sys

import click


@click.command("daemon")
@click.option("--state-dir", default="/var/lib/raftswarm", show_default=True, help="Where this node keeps everything.")
@click.option("--hostname", default=None, help="This node's name in the swarm  [default: the machine's].")
@click.option("--listen-addr", default="0.0.0.0:2377", show_default=True, help="Address for the other nodes.")
@click.option("--advertise-addr", default="", help="Address that the others are told  [default: the listen address].")
@click.option(
    "--api",
    "api",
    multiple=True,
    help="Serve the Docker Engine API here: unix://PATH, or tcp://127.0.0.1:PORT; repeatable  "
    "[default: where `raftswarm` looks for it].",
)
@click.option(
    "--metrics-addr",
    "metrics",
    multiple=True,
    help="Serve /metrics, /livez and /readyz here, too: tcp://127.0.0.1:PORT or unix://PATH; repeatable. The Engine "
    "API has them anyway.",
)
@click.option(
    "--unlock",
    "unlock",
    multiple=True,
    metavar="SOURCE",
    help="When this node starts locked, take the unlock key from prompt, stdin, fd:N, file:PATH, credential:NAME "
    "(systemd), command:WORDS, or a plug-in; repeatable, tried in order  [default: wait for `swarm unlock`].",
)
@click.option(
    "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
)
@click.option(
    "--conditions",
    default="",
    metavar="FILE",
    help="Suffer the made-up conditions in that file, which may come and go: `raftswarm local` writes it.",
)
def command(
    *,
    state_dir: str,
    hostname: str | None,
    listen_addr: str,
    advertise_addr: str,
    api: tuple[str, ...],
    metrics: tuple[str, ...],
    unlock: tuple[str, ...],
    log_level: str,
    conditions: str,
) -> None:
    """Run one node: it serves the Docker Engine API and takes part in a swarm once told to init or join."""
    import trio

    from raftswarm.cli.session import default_host
    from raftswarm.errors import RaftSwarmError
    from raftswarm.node import DaemonOptions, run_daemon
    from raftswarm.world.conditioned_clock import DriftingClock

    options = DaemonOptions(
        state_directory=state_dir,
        hostname=hostname or socket.gethostname(),
        listen_address=listen_addr,
        advertise_address=advertise_addr,
        api=api or (default_host(),),
        metrics=metrics,
        log_level=log_level,
        conditions=conditions,
        unlock=unlock,
    )
    try:
        trio.run(run_daemon, options, clock=DriftingClock() if conditions else None)
    except RaftSwarmError as error:
        click.echo(f"raftswarm daemon: {error}", err=True)
        sys.exit(1)
