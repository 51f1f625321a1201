"""Whose certificate it is, judged by the roots and the time that the caller gives (SWARM 10.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from raftswarm.ca import (
    MANAGER,
    WORKER,
    Identity,
    issue_certificate,
    make_signing_request,
    new_key,
    read_certificates,
    read_key,
    verify,
)
from raftswarm.errors import NotAuthentic

NOW_NS = 1_800_000_000 * 1_000_000_000
HOUR_NS = 3600 * 1_000_000_000
BOB = Identity("bob", WORKER, "cluster1")


class Root(Protocol):
    certificate: str
    key: str


def issue(root: Root, identity: Identity = BOB) -> x509.Certificate:
    pem = issue_certificate(
        make_signing_request(new_key(b"\x17" * 48)),
        identity,
        root=root.certificate,
        root_key=root.key,
        now_ns=NOW_NS,
        serial_bytes=b"\x99" * 16,
        validity=timedelta(hours=24),
    )
    return read_certificates(pem)[0]


def roots(*them: Root) -> tuple[x509.Certificate, ...]:
    return tuple(read_certificates(root.certificate)[0] for root in them)


def signed_by_hand(root: Root, *attributes: tuple[x509.ObjectIdentifier, str], is_ca: bool = False) -> x509.Certificate:
    """A certificate that the root did sign, but that we would never make."""
    now = datetime.fromtimestamp(NOW_NS // 10**9, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))
        .issuer_name(roots(root)[0].subject)
        .public_key(new_key(b"\x17" * 48).public_key())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .serial_number(7)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    return builder.sign(read_key(root.key), SHA256())


def test_a_certificate_under_a_root_tells_who_its_node_is(root: Root) -> None:
    assert verify(issue(root), roots(root), NOW_NS) == BOB


def test_any_of_several_roots_will_do(root: Root, other_root: Root) -> None:
    assert verify(issue(root), roots(other_root, root), NOW_NS) == BOB


def test_another_swarms_certificate_is_refused(root: Root, other_root: Root) -> None:
    with pytest.raises(NotAuthentic, match="node bob is not signed by this swarm's root CA"):
        verify(issue(other_root), roots(root), NOW_NS)
    with pytest.raises(NotAuthentic, match="not signed"):
        verify(issue(root), (), NOW_NS)


def test_a_certificate_holds_to_its_last_second(root: Root) -> None:
    certificate = issue(root)

    assert verify(certificate, roots(root), NOW_NS + 24 * HOUR_NS) == BOB
    with pytest.raises(NotAuthentic) as caught:
        verify(certificate, roots(root), NOW_NS + 25 * HOUR_NS)
    assert "node bob expired at 2027-01-16T08:00:00Z, and it is 2027-01-16T09:00:00Z" in str(caught.value)


def test_a_certificate_does_not_hold_before_its_time(root: Root) -> None:
    certificate = issue(root)

    assert verify(certificate, roots(root), NOW_NS - HOUR_NS) == BOB
    with pytest.raises(NotAuthentic, match="is valid from 2027-01-15T07:00:00Z, and it is 2027-01-15T06:00:00Z"):
        verify(certificate, roots(root), NOW_NS - 2 * HOUR_NS)


def test_a_certificate_of_another_cluster_or_role_is_refused_when_that_matters(root: Root) -> None:
    certificate = issue(root)

    assert verify(certificate, roots(root), NOW_NS, cluster_id="cluster1", role=WORKER) == BOB
    with pytest.raises(NotAuthentic, match="node bob belongs to cluster cluster1, not to cluster2"):
        verify(certificate, roots(root), NOW_NS, cluster_id="cluster2")
    with pytest.raises(NotAuthentic, match="node bob is a swarm-worker, and this needs a swarm-manager"):
        verify(certificate, roots(root), NOW_NS, role=MANAGER)


def test_a_root_is_no_node(root: Root) -> None:
    with pytest.raises(NotAuthentic, match="not a node's certificate"):
        verify(roots(root)[0], roots(root), NOW_NS)


NAME = (NameOID.COMMON_NAME, "bob")
ROLE = (NameOID.ORGANIZATIONAL_UNIT_NAME, WORKER)
CLUSTER = (NameOID.ORGANIZATION_NAME, "cluster1")


@pytest.mark.parametrize(
    "attributes",
    [
        (NAME, ROLE),
        (NAME, CLUSTER),
        (ROLE, CLUSTER),
        (NAME, ROLE, CLUSTER, (NameOID.ORGANIZATIONAL_UNIT_NAME, MANAGER)),
        (NAME, (NameOID.ORGANIZATIONAL_UNIT_NAME, "king"), CLUSTER),
        ((NameOID.COMMON_NAME, "bob\n2027 INFO all is well"), ROLE, CLUSTER),
    ],
    ids=["no cluster", "no role", "no name", "two roles", "unknown role", "name with a line break"],
)
def test_an_odd_subject_is_refused(root: Root, attributes: tuple[tuple[x509.ObjectIdentifier, str], ...]) -> None:
    with pytest.raises(NotAuthentic, match="not a node's certificate"):
        verify(signed_by_hand(root, *attributes), roots(root), NOW_NS)


def test_a_certificate_without_a_purpose_or_that_may_sign_others_is_refused(root: Root) -> None:
    for is_ca in (False, True):
        with pytest.raises(NotAuthentic, match="bob"):
            verify(signed_by_hand(root, NAME, ROLE, CLUSTER, is_ca=is_ca), roots(root), NOW_NS)


@pytest.mark.parametrize("data", ["", "nonsense", b"", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_refused(data: str | bytes) -> None:
    with pytest.raises(NotAuthentic, match="not a certificate"):
        read_certificates(data)
