"""Letting nodes in: a join token becomes a node and its certificate, a certificate becomes a newer one (SWARM 10.3)."""

from __future__ import annotations

from datetime import timedelta

import attrs
from msgspec.structs import replace

from raftswarm.ca.certificates import MIN_NODE_VALIDITY, NODE_VALIDITY, SERIAL_BYTES, issue_certificate
from raftswarm.ca.identity import CERTIFIED_ROLES, Identity
from raftswarm.ca.tokens import same_token
from raftswarm.errors import RequestRefused
from raftswarm.manager.control.cluster import require_cluster
from raftswarm.manager.control.nodes import AVAILABILITIES
from raftswarm.manager.control.refusals import invalid
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id
from raftswarm.objects.records import Cluster, Node, NodeDescription
from raftswarm.objects.specs import NodeSpec
from raftswarm.store.store import Store, Transaction, Writes
from raftswarm.wire.requests import IssueCertificate, IssuedCertificate
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock


@attrs.frozen
class CertificateIssuer:
    """Signs with the cluster's root. Runs on the leader."""

    _store: Store
    _writes: Writes
    _entropy: Entropy
    _wall_clock: WallClock
    _epoch: int = 0

    async def issue(self, caller: Identity | None, request: IssueCertificate) -> IssuedCertificate:
        """Serve a node that joins with a token, or one that renews the certificate it calls with."""
        if not request.csr:
            raise invalid("a certificate signing request must be provided")
        cluster = require_cluster(self._store)
        if request.token:
            return await self._admit(cluster, request)
        if caller is None:
            raise _no_token()
        return await self._renew(cluster, caller, request)

    async def _admit(self, cluster: Cluster, request: IssueCertificate) -> IssuedCertificate:
        role = _role_of_token(cluster, request.token)
        if request.availability not in AVAILABILITIES:
            raise invalid(f'invalid Availability: "{request.availability}"')
        node_id = make_id(self._entropy.token_bytes(ID_RANDOM_BYTES))
        # Signed first: a request that cannot be signed leaves no node behind.
        issued, expiry = self._sign(cluster, node_id, role, request.csr)
        node = Node(
            id=node_id,
            spec=NodeSpec(role=role, availability=request.availability),
            role=role,
            description=NodeDescription(hostname=request.hostname),
            certificate_expiry=expiry,
        )

        def build(transaction: Transaction) -> None:
            # The token may have been rotated while this was on its way.
            _role_of_token(require_cluster(transaction), request.token)
            transaction.create(node)

        await self._writes.write(build)
        return issued

    async def _renew(self, cluster: Cluster, caller: Identity, request: IssueCertificate) -> IssuedCertificate:
        node_id = caller.node_id
        if node_id in cluster.removed_nodes:
            raise RequestRefused(f"node {node_id} was removed from swarm", code="PermissionDenied")
        node = self._store.get(Node, node_id)
        if node is None:
            raise _not_found_for_renewal(node_id)
        role = node.role
        issued, expiry = self._sign(cluster, node_id, role, request.csr)

        def build(transaction: Transaction) -> None:
            current = transaction.get(Node, node_id)
            if current is None or current.role != role:
                raise _not_found_for_renewal(node_id)
            transaction.update(replace(current, certificate_expiry=expiry))

        await self._writes.write(build)
        return issued

    def _sign(self, cluster: Cluster, node_id: str, role: str, csr: str) -> tuple[IssuedCertificate, int]:
        now = self._wall_clock.now_ns()
        validity = timedelta(microseconds=cluster.spec.ca_config.node_cert_expiry // 1000)
        if validity < MIN_NODE_VALIDITY:
            validity = NODE_VALIDITY
        certificate = issue_certificate(
            csr,
            Identity(node_id, CERTIFIED_ROLES[role], cluster.id),
            root=cluster.root_certificate,
            root_key=cluster.root_key,
            now_ns=now,
            serial_bytes=self._entropy.token_bytes(SERIAL_BYTES),
            validity=validity,
        )
        issued = IssuedCertificate(
            node_id=node_id,
            cluster_id=cluster.id,
            role=CERTIFIED_ROLES[role],
            certificate=certificate,
            root_certificate=cluster.root_certificate,
            unlock_key=cluster.unlock_key if role == "manager" else "",
            cluster_version=cluster.version,
            epoch=self._epoch,
        )
        return issued, now + validity // timedelta(microseconds=1) * 1000


def _role_of_token(cluster: Cluster, token: str) -> str:
    """The token does not say its role: whose it equals, decides. Both are compared, whatever the first says."""
    is_manager = same_token(token, cluster.join_tokens.manager)
    is_worker = same_token(token, cluster.join_tokens.worker)
    if not (is_manager or is_worker):
        raise _no_token()
    return "manager" if is_manager else "worker"


def _no_token() -> RequestRefused:
    return invalid("A valid join token is necessary to join this cluster")


def _not_found_for_renewal(node_id: str) -> RequestRefused:
    return RequestRefused(f"node {node_id} not found when attempting to renew certificate", code="NotFound")
