"""``raftswarm swarm status``: who leads, who lags, what may be lost, which certificate expires first."""

from __future__ import annotations

from typing import Final

import click
import msgspec

from raftswarm.cli.session import ItemsFailed, with_engine
from raftswarm.cli.tables import print_table
from raftswarm.cli.words import describe_duration
from raftswarm.client import EngineClient
from raftswarm.objects.swarm_status import CertificateJson, ManagerJson, SwarmStatus

_SHOWN_CERTIFICATES: Final = 5


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Say how the swarm stands. Exit status: 0 a manager more may be lost, 1 none may."""

    async def work(engine: EngineClient) -> SwarmStatus:
        return await engine.status()

    status = with_engine(work)
    if as_json:
        click.echo(msgspec.json.encode(status).decode())
    else:
        _print(status)
    if status.may_lose <= 0:
        raise ItemsFailed


def _print(status: SwarmStatus) -> None:
    rows = [[row.hostname or row.node_id, _role(row), row.address, _lag(row)] for row in status.managers]
    print_table([["MANAGER", "STATUS", "ADDRESS", "LOG"], *rows])
    click.echo()
    for sentence in status.what_if:
        click.echo(sentence)
    click.echo()
    rows = [[row.hostname or row.node_id, row.role, _expiry(row)] for row in status.certificates[:_SHOWN_CERTIFICATES]]
    print_table([["NODE", "ROLE", "CERTIFICATE"], *rows])
    hidden = len(status.certificates) - _SHOWN_CERTIFICATES
    if hidden > 0:
        click.echo(f"and {hidden} more that expire later")


def _role(manager: ManagerJson) -> str:
    if manager.leader:
        return "Leader"
    return "Reachable" if manager.reachable else "Unreachable"


def _lag(manager: ManagerJson) -> str:
    lag = "up to date" if not manager.behind else f"{manager.behind} entries behind"
    return lag if manager.leader or manager.reachable else f"{lag}, silent for {manager.silent_seconds:.1f} s"


def _expiry(certificate: CertificateJson) -> str:
    seconds = certificate.expires_in_seconds
    if seconds == 0:
        return "unknown"
    return f"expired {describe_duration(-seconds)} ago" if seconds < 0 else f"expires in {describe_duration(seconds)}"
