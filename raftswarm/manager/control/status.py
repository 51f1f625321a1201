"""How the swarm stands: the Raft group as its leader sees it, and the certificates of all nodes."""

from __future__ import annotations

from raftswarm.manager.control.nodes import Membership
from raftswarm.manager.control.requests import GetStatus, StatusAnswer
from raftswarm.objects.records import Node
from raftswarm.objects.swarm_status import (
    CertificateJson,
    ManagerJson,
    SwarmStatus,
    may_lose,
    quorum_of,
    say_what_if,
)
from raftswarm.store.store import Store

_SECOND = 1_000_000_000


def show_status(store: Store, membership: Membership, now_ns: int, _: GetStatus) -> StatusAnswer:
    """Answer on the leader."""
    nodes = {node.id: node for node in store.find(Node)}
    managers = [
        ManagerJson(
            node_id=member.node_id,
            hostname=nodes[member.node_id].description.hostname if member.node_id in nodes else "",
            address=member.address,
            leader=member.leader,
            reachable=member.reachable,
            behind=member.behind,
            silent_seconds=round(member.silent_seconds, 3),
        )
        for member in membership.member_statuses()
    ]
    managers.sort(key=lambda manager: (manager.hostname, manager.node_id))
    reachable = sum(manager.reachable for manager in managers)
    certificates = [
        CertificateJson(
            node_id=node.id,
            hostname=node.description.hostname,
            role=node.role,
            expires_in_seconds=(node.certificate_expiry - now_ns) // _SECOND if node.certificate_expiry else 0,
        )
        for node in nodes.values()
    ]
    certificates.sort(key=lambda certificate: certificate.expires_in_seconds)
    return StatusAnswer(
        status=SwarmStatus(
            term=membership.term,
            managers=managers,
            quorum=quorum_of(len(managers)),
            may_lose=may_lose(len(managers), reachable),
            what_if=say_what_if(managers),
            certificates=certificates,
        )
    )
