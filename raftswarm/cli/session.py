"""From a command to an engine: which one, how, and what is said when it does not answer."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click
import trio

from raftswarm.api.errors import ApiError
from raftswarm.client import EngineClient
from raftswarm.errors import InvalidSpec, LinkError, RaftSwarmError
from raftswarm.world.runtime_directory import runtime_directory

T = TypeVar("T")


class CommandFailed(click.ClickException):
    """What was asked for cannot be done; the message is printed as it is."""

    def show(self, file: object = None) -> None:
        """Print the message, if there is one."""
        del file
        if self.message:
            click.echo(self.message, err=True)


class ItemsFailed(CommandFailed):
    """Some of the things that were named could not be done; the messages have been shown."""

    def __init__(self) -> None:
        """Say nothing more."""
        super().__init__("")


def default_host() -> str:
    """Say where a daemon of this user listens unless it is told otherwise."""
    return "unix:///run/raftswarm.sock" if os.geteuid() == 0 else f"unix://{runtime_directory()}/raftswarm.sock"


def choose_host(given: str | None, environment: Mapping[str, str]) -> str:
    """Choose the engine: what was typed, else what the environment names, else the default socket."""
    named = given or environment.get("RAFTSWARM_HOST") or environment.get("DOCKER_HOST")
    return named or default_host()


def with_engine(work: Callable[[EngineClient], Awaitable[T]]) -> T:
    """Run the work of a command against the engine that was chosen."""
    host = choose_host(click.get_current_context().find_root().params.get("host"), os.environ)

    async def run() -> T:
        async with EngineClient(host, tls=_client_tls(host, os.environ)) as engine:
            return await work(engine)

    return trio.run(run)


def _client_tls(host: str, environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """Follow DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, as docker does."""
    if host.startswith(("unix://", "/")):
        return None
    if not (environment.get("DOCKER_TLS_VERIFY") or host.startswith("https://")):
        return None
    directory = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    try:
        context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    except (OSError, ssl.SSLError) as error:
        raise InvalidSpec(f"cannot use the certificates in {directory}: {error}") from None
    return context


def for_each(items: Sequence[str], work: Callable[[EngineClient, str], Awaitable[str]]) -> None:
    """Do something to each of the named things; what fails is reported and does not stop the others."""

    async def run(engine: EngineClient) -> bool:
        failed = False
        for item in items:
            try:
                click.echo(await work(engine, item))
            except ApiError as error:
                click.echo(explain(error), err=True)
                failed = True
        return failed

    if with_engine(run):
        raise ItemsFailed


def explain(error: Exception) -> str | None:
    """Put an error into words for a terminal; None for what is a bug."""
    if isinstance(error, ApiError):
        return f"Error response from daemon: {error}"
    if isinstance(error, LinkError):
        return f"Cannot connect to the daemon: {error}. Is it running?"
    if isinstance(error, RaftSwarmError):
        return f"Error: {error}"
    return None
