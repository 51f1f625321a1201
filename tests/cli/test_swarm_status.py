"""``raftswarm swarm status``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from raftswarm.objects.swarm_status import CertificateJson, ManagerJson, SwarmStatus
from tests.fake_engine import FakeNode

if TYPE_CHECKING:
    from tests.cli.conftest import Finished

Run = Callable[[str], Awaitable["Finished"]]

DAY = 24 * 3600
STATUS = SwarmStatus(
    term=3,
    quorum=2,
    may_lose=1,
    what_if=["you may lose 1 of 3"],
    managers=[
        ManagerJson(node_id="n1", hostname="docker1", address="10.0.0.1:2377", leader=True, reachable=True),
        ManagerJson(node_id="n2", hostname="docker2", address="10.0.0.2:2377", reachable=True, behind=7),
        ManagerJson(node_id="n3", hostname="docker3", address="10.0.0.3:2377", behind=90, silent_seconds=4.25),
    ],
    certificates=[
        CertificateJson(node_id="n3", hostname="docker3", role="manager", expires_in_seconds=-3 * DAY),
        CertificateJson(node_id="n1", hostname="docker1", role="manager", expires_in_seconds=80 * DAY),
    ],
)


async def test_it_tells_who_leads_who_lags_and_what_may_be_lost(node: FakeNode, raftswarm: Run) -> None:
    node.swarm_status = STATUS

    finished = await raftswarm("raftswarm swarm status")

    lines = [" ".join(line.split()) for line in finished.stdout.splitlines()]
    assert lines == [
        "MANAGER STATUS ADDRESS LOG",
        "docker1 Leader 10.0.0.1:2377 up to date",
        "docker2 Reachable 10.0.0.2:2377 7 entries behind",
        "docker3 Unreachable 10.0.0.3:2377 90 entries behind, silent for 4.2 s",
        "",
        "you may lose 1 of 3",
        "",
        "NODE ROLE CERTIFICATE",
        "docker3 manager expired 3 days ago",
        "docker1 manager expires in 2 months",
    ]
    assert finished.status == 0


async def test_scripts_hear_by_the_exit_status_that_nothing_more_may_be_lost(node: FakeNode, raftswarm: Run) -> None:
    node.swarm_status = SwarmStatus(quorum=1, what_if=["you may lose none of 1: 1 answer, and 1 are needed"])

    finished = await raftswarm("raftswarm swarm status --json")

    assert finished.status == 1
    assert json.loads(finished.stdout)["Quorum"] == 1
