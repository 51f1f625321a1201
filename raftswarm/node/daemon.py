"""A daemon: one node in a process of its own, with the real world around it and the Engine API in front."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from raftswarm.agent.description import describe_machine
from raftswarm.agent.executors.plan_run import minimal_environment
from raftswarm.engine.engine_api import EngineApi
from raftswarm.engine.host import read_host_facts
from raftswarm.engine.observability import ObservationEndpoints
from raftswarm.errors import InvalidSpec
from raftswarm.http.addresses import parse_address
from raftswarm.http.listeners import open_listener
from raftswarm.http.server import serve_http
from raftswarm.node.machine import Machine
from raftswarm.node.settings import WILDCARD_HOSTS, NodeSettings, split_address
from raftswarm.node.surroundings import Surroundings, conditioned_surroundings, plain_surroundings
from raftswarm.node.world import NodeWorld
from raftswarm.storage.state_directory import lock_state
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.tls import open_tls_network
from raftswarm.version import __version__
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.garbage import PLAN
from raftswarm.world.real_disk import ThreadDiskRunner
from raftswarm.world.real_ports import RealPorts
from raftswarm.world.real_processes import RealProcesses
from raftswarm.world.runtime_directory import runtime_directory
from raftswarm.world.secret_sources import find_source
from raftswarm.world.watchdog import watch_loop

logger = logging.getLogger("raftswarm.daemon")


@attrs.frozen(kw_only=True)
class DaemonOptions:
    """What the command line says."""

    state_directory: str
    hostname: str
    listen_address: str
    advertise_address: str
    api: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    """Where ``/metrics`` and health are served without the Engine API."""
    log_level: str = "info"
    conditions: str = ""
    """A file of made-up conditions (`world.conditions`); only daemons of a local swarm have one."""
    unlock: tuple[str, ...] = ()
    """Names of the sources of the unlock key, tried in this order (`world.secret_sources`)."""


async def run_daemon(options: DaemonOptions) -> None:
    """Run until SIGTERM or SIGINT; raises a `RaftSwarmError` with a sentence for the operator when it cannot start."""
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    settings = _settings(options)
    addresses = [parse_address(text) for text in options.api]
    metrics_addresses = [parse_address(text) for text in options.metrics]
    unlock_sources = [(name.partition(":")[0], find_source(name)) for name in options.unlock]
    chance = random.Random(SystemEntropy().token_bytes(16))  # noqa: S311 - timing and choice, not secrets
    around = _surroundings(options, settings, chance)
    disk, clock = around.disk, around.wall_clock
    lock = lock_state(disk, settings.state_directory)
    try:
        async with AsyncExitStack() as stack:
            listeners = [
                await stack.enter_async_context(open_listener(address, plain_tcp=True)) for address in addresses
            ]
            observers = [
                await stack.enter_async_context(open_listener(address, plain_tcp=True)) for address in metrics_addresses
            ]
            stack.enter_context(watch_loop())
            stack.enter_context(PLAN.in_force())
            runner = await stack.enter_async_context(ThreadDiskRunner())
            world = NodeWorld(
                disk=disk,
                runner=runner,
                wall_clock=clock,
                chance=chance,
                entropy=SystemEntropy(),
                processes=RealProcesses(),
                ports=RealPorts(),
                describe=lambda: describe_machine(__version__),
                open_network=lambda credentials, host: open_tls_network(
                    clock, local_host=host, credentials=credentials, sockets=around.sockets
                ),
            )
            machine = Machine(settings, world, unlock_sources)
            api = EngineApi(machine, host=read_host_facts(), clock=clock, chance=chance)
            nursery = await stack.enter_async_context(open_helpers())
            nursery.start_soon(around.run)
            await nursery.start(_serve_until_signalled, nursery.cancel_scope)
            await nursery.start(machine.run)
            if observers:
                nursery.start_soon(serve_http, ObservationEndpoints(machine).handle, observers)
            logger.info("serving the Docker Engine API on %s", ", ".join(options.api))
            await serve_http(api.handle, listeners)
    finally:
        lock.close()
    logger.info("stopped")


async def _serve_until_signalled(
    stop: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            logger.info("%s: stopping", signal.Signals(number).name)
            stop.cancel()
            return


def _surroundings(options: DaemonOptions, settings: NodeSettings, chance: random.Random) -> Surroundings:
    if not options.conditions:
        return plain_surroundings()
    return conditioned_surroundings(options.conditions, split_address(settings.advertise_address)[0], chance)


def _first_address() -> str:
    """This machine's address towards others, as Docker guesses it where nobody says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # Nothing is sent; the routing table answers.
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _settings(options: DaemonOptions) -> NodeSettings:
    """Check the addresses, and fill in what was left open."""
    for name, text in (("--listen-addr", options.listen_address), ("--advertise-addr", options.advertise_address)):
        try:
            split_address(text)
        except ValueError:
            raise InvalidSpec(f"{name} {text}: expected HOST:PORT, with a port below 65536") from None
    if not options.hostname:
        raise InvalidSpec("--hostname must not be empty")
    host, port = split_address(options.listen_address)
    listen = f"{host}:{port}"
    advertise = listen
    if options.advertise_address:
        advertise_host, advertise_port = split_address(options.advertise_address, port)
        advertise = f"{advertise_host}:{advertise_port}"
    elif host in WILDCARD_HOSTS:
        advertise = f"{_first_address()}:{port}"
    return NodeSettings(
        state_directory=str(Path(options.state_directory).absolute()),
        hostname=options.hostname,
        listen_address=listen,
        advertise_address=advertise,
        shared_directory=str(runtime_directory()),
        task_environment=minimal_environment(os.environ),
    )
