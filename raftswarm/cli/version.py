"""``raftswarm version``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click
import msgspec

from raftswarm.api.system import VersionInfoJson
from raftswarm.cli.session import with_engine
from raftswarm.cli.tables import render
from raftswarm.client import EngineClient
from raftswarm.client.engine_client import API_VERSION


@click.command(name="version")
@click.option("-f", "--format", "format_", help="'json' or a template")
def command(format_: str | None) -> None:
    """Show the versions of client and engine."""
    if format_ is not None:
        _print_formatted(format_)
        return
    click.echo("Client:")
    click.echo(f" Version:           {_own_version()}")
    click.echo(f" API version:       {API_VERSION}\n")
    _print_server(with_engine(_ask))


async def _ask(engine: EngineClient) -> VersionInfoJson:
    return await engine.version()


def _own_version() -> str:
    try:
        return version("raftswarm")
    except PackageNotFoundError:
        return "unknown"


def _print_server(server: VersionInfoJson) -> None:
    click.echo(f"Server: {server.platform.name}".rstrip())
    click.echo(" Engine:")
    click.echo(f"  Version:          {server.version}")
    click.echo(f"  API version:      {server.api_version} (minimum version {server.min_api_version})")
    click.echo(f"  Interpreter:      {server.go_version}")
    click.echo(f"  OS/Arch:          {server.os}/{server.arch}")


def _print_formatted(format_: str) -> None:
    async def ask(engine: EngineClient) -> bytes:
        return await engine.request("GET", "/version")

    both = {"Client": {"Version": _own_version(), "ApiVersion": API_VERSION}, "Server": msgspec.Raw(with_engine(ask))}
    body = msgspec.json.encode(both)
    if format_ == "json":
        click.echo(body.decode())
    else:
        click.echo(render(format_, msgspec.json.decode(body)))
