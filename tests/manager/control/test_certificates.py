"""Letting nodes in, and renewing what lets them in (SWARM 10.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.ca import MANAGER, WORKER, Identity, make_signing_request, new_key, read_certificates, verify
from raftswarm.errors import RequestRefused
from raftswarm.manager.control.certificates import CertificateIssuer
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import UpdateCluster
from raftswarm.objects.records import Cluster, JoinTokens, Node
from raftswarm.objects.specs import EncryptionConfig, SwarmSpec
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites
from raftswarm.wire.requests import IssueCertificate

CSR = make_signing_request(new_key(bytes(range(48))))
REFUSED = r"^A valid join token is necessary to join this cluster$"


@pytest.fixture
def issuer(store: Store, writes: StoreWrites, entropy: Any, wall_clock: Any) -> CertificateIssuer:
    return CertificateIssuer(store, writes, entropy, wall_clock)


@pytest.mark.parametrize(
    ("token", "role", "certified"), [("worker", "worker", WORKER), ("manager", "manager", MANAGER)]
)
async def test_a_token_gives_a_node_with_the_role_it_stands_for(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, wall_clock: Any, *, token: str, role: str, certified: str
) -> None:
    request = IssueCertificate(
        csr=CSR, token=getattr(cluster.join_tokens, token), availability="drain", hostname="docker2"
    )

    issued = await issuer.issue(None, request)

    node = store.get(Node, issued.node_id)
    assert node is not None
    assert (node.role, node.spec.role, node.spec.availability) == (role, role, "drain")
    assert node.description.hostname == "docker2"
    (certificate,), roots = read_certificates(issued.certificate), read_certificates(issued.root_certificate)
    identity = verify(certificate, roots, wall_clock.now_ns())
    assert identity == Identity(issued.node_id, certified, cluster.id)
    assert (issued.role, issued.cluster_id, issued.unlock_key) == (certified, cluster.id, "")
    assert node.certificate_expiry == int(certificate.not_valid_after_utc.timestamp()) * 1_000_000_000


async def test_every_node_gets_an_id_of_its_own(issuer: CertificateIssuer, cluster: Cluster) -> None:
    request = IssueCertificate(csr=CSR, token=cluster.join_tokens.worker)

    assert (await issuer.issue(None, request)).node_id != (await issuer.issue(None, request)).node_id


@pytest.mark.parametrize("token", ["", "SWMTKN-1-nonsense", "\ud800"])
async def test_without_a_valid_token_nobody_gets_in(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, token: str
) -> None:
    with pytest.raises(RequestRefused, match=REFUSED) as refused:
        await issuer.issue(None, IssueCertificate(csr=CSR, token=token))

    assert refused.value.code == "InvalidArgument"
    assert [node.id for node in store.find(Node)] == ["m1"]


async def test_a_token_of_the_right_root_with_another_secret_is_refused(
    issuer: CertificateIssuer, cluster: Cluster
) -> None:
    wrong = cluster.join_tokens.worker[:-1] + ("0" if cluster.join_tokens.worker[-1] != "0" else "1")

    with pytest.raises(RequestRefused, match=REFUSED):
        await issuer.issue(None, IssueCertificate(csr=CSR, token=wrong))


async def test_a_rotated_token_lets_nobody_in_any_more(
    issuer: CertificateIssuer, handler: ControlHandler, store: Store, cluster: Cluster
) -> None:
    assert store.cluster is not None
    await handler.handle(
        UpdateCluster(version=store.cluster.version, spec=store.cluster.spec, rotate_worker_token=True)
    )

    with pytest.raises(RequestRefused, match=REFUSED):
        await issuer.issue(None, IssueCertificate(csr=CSR, token=cluster.join_tokens.worker))


async def test_a_token_that_is_rotated_meanwhile_lets_nobody_in_either(
    store: Store, log: LoneProposer, cluster: Cluster, entropy: Any, wall_clock: Any
) -> None:
    class RotatedFirst:
        async def propose(self, command: bytes) -> object:
            current = store.cluster
            assert current is not None
            if current.join_tokens == cluster.join_tokens:
                transaction = store.begin()
                transaction.update(replace(current, join_tokens=JoinTokens(worker="new", manager="new")))
                log.apply(encode(transaction.change_set()))
            return await log.propose(command)

    issuer = CertificateIssuer(store, StoreWrites(store, RotatedFirst()), entropy, wall_clock)

    with pytest.raises(RequestRefused, match=REFUSED):
        await issuer.issue(None, IssueCertificate(csr=CSR, token=cluster.join_tokens.worker))
    assert [node.id for node in store.find(Node)] == ["m1"]


@pytest.mark.parametrize("csr", ["", "nonsense", CSR[:200]])
async def test_an_unreadable_signing_request_leaves_no_node_behind(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, csr: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        await issuer.issue(None, IssueCertificate(csr=csr, token=cluster.join_tokens.worker))

    assert refused.value.code == "InvalidArgument"
    assert [node.id for node in store.find(Node)] == ["m1"]


@pytest.mark.parametrize(("token", "told"), [("manager", True), ("worker", False)])
async def test_under_autolock_managers_are_told_the_unlock_key_and_workers_are_not(
    issuer: CertificateIssuer, handler: ControlHandler, store: Store, cluster: Cluster, *, token: str, told: bool
) -> None:
    assert store.cluster is not None
    spec = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))
    await handler.handle(UpdateCluster(version=store.cluster.version, spec=spec))

    issued = await issuer.issue(None, IssueCertificate(csr=CSR, token=getattr(cluster.join_tokens, token)))

    assert issued.unlock_key == (store.cluster.unlock_key if told else "")


async def test_a_certificate_is_renewed_with_the_role_the_node_has_now(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    put(Node(id="w1", role="manager", certificate_expiry=1))

    issued = await issuer.issue(Identity("w1", WORKER, cluster.id), IssueCertificate(csr=CSR))

    renewed = store.get(Node, "w1")
    assert renewed is not None
    assert (issued.node_id, issued.role) == ("w1", MANAGER)
    assert renewed.certificate_expiry > 1


async def test_a_node_that_is_gone_or_was_removed_renews_nothing(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    assert store.cluster is not None
    put(replace(store.cluster, removed_nodes={"banned": 1}))

    with pytest.raises(RequestRefused, match=r"^node gone not found when attempting to renew certificate$"):
        await issuer.issue(Identity("gone", WORKER, cluster.id), IssueCertificate(csr=CSR))
    with pytest.raises(RequestRefused, match=r"^node banned was removed from swarm$") as refused:
        await issuer.issue(Identity("banned", WORKER, cluster.id), IssueCertificate(csr=CSR))
    assert refused.value.code == "PermissionDenied"


async def test_certificates_last_as_long_as_the_swarm_says(
    issuer: CertificateIssuer, store: Store, cluster: Cluster, put: Callable[..., None], wall_clock: Any
) -> None:
    assert store.cluster is not None
    spec = replace(store.cluster.spec, ca_config=replace(store.cluster.spec.ca_config, node_cert_expiry=7_200 * 10**9))
    put(replace(store.cluster, spec=spec))

    issued = await issuer.issue(None, IssueCertificate(csr=CSR, token=cluster.join_tokens.worker))

    (certificate,) = read_certificates(issued.certificate)
    left = certificate.not_valid_after_utc.timestamp() - wall_clock.now_ns() / 1e9
    assert left == timedelta(hours=2).total_seconds()
