"""How the swarm stands, as its leader sees it."""

from __future__ import annotations

from collections.abc import Callable

from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import GetStatus, ManagerStatus, StatusAnswer
from raftswarm.objects.records import Node, NodeDescription
from tests.manager.control.conftest import NOW_NS

DAY = 24 * 3600


def node(name: str, *, role: str, days: int) -> Node:
    return Node(
        id=name,
        role=role,
        description=NodeDescription(hostname=f"host-{name}"),
        certificate_expiry=NOW_NS + days * DAY * 10**9,
    )


async def test_managers_quorum_and_certificates_are_told(
    handler: ControlHandler, put: Callable[..., None], managers: dict[str, ManagerStatus]
) -> None:
    managers["m2"] = ManagerStatus(leader=False, reachable=False, address="10.0.0.2:2377")
    managers["m3"] = ManagerStatus(leader=False, reachable=True, address="10.0.0.3:2377")
    put(node("m1", role="manager", days=60), node("m2", role="manager", days=-2), node("w1", role="worker", days=9))

    answer = await handler.handle(GetStatus())

    assert isinstance(answer, StatusAnswer)
    status = answer.status
    assert (status.term, status.quorum, status.may_lose) == (4, 2, 0)
    assert [(one.hostname, one.leader, one.reachable, one.behind) for one in status.managers] == [
        ("", False, True, 0),
        ("host-m1", True, True, 0),
        ("host-m2", False, False, 12),
    ]
    assert [(one.node_id, one.expires_in_seconds // DAY) for one in status.certificates] == [
        ("m2", -2),
        ("w1", 9),
        ("m1", 60),
    ]
