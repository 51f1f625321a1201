"""Who is at the other end: a pure function of a certificate, the trusted roots and the time.

Real links run it after OpenSSL's own handshake, which cannot be given a clock; simulated links run nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from raftswarm.ca.identity import MANAGER, WORKER, Identity
from raftswarm.errors import NotAuthentic

_NODE_USAGES: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
_LONGEST_NAME: Final = 64


def read_certificates(data: str | bytes) -> tuple[x509.Certificate, ...]:
    """Read PEM text with one or more certificates, or one certificate's DER bytes; NotAuthentic if it is neither."""
    try:
        if isinstance(data, bytes):
            return (x509.load_der_x509_certificate(data),)
        return tuple(x509.load_pem_x509_certificates(data.encode()))
    except ValueError as error:
        raise NotAuthentic("not a certificate: expected PEM text that begins with BEGIN CERTIFICATE") from error


def verify(
    certificate: x509.Certificate,
    roots: Sequence[x509.Certificate],
    now_ns: int,
    *,
    cluster_id: str = "",
    role: str = "",
) -> Identity:
    """Return whose certificate this is; NotAuthentic, saying why, unless a root vouches for it now.

    With `cluster_id` or `role`, a certificate of another cluster or role is refused too.
    """
    identity = identity_of(certificate)
    _check_signature(certificate, roots, identity)
    _check_is_node(certificate, identity)
    _check_time(certificate, f"the certificate of node {identity.node_id}", now_ns)
    if cluster_id and identity.cluster_id != cluster_id:
        raise NotAuthentic(f"node {identity.node_id} belongs to cluster {identity.cluster_id}, not to {cluster_id}")
    if role and identity.role != role:
        raise NotAuthentic(f"node {identity.node_id} is a {identity.role}, and this needs a {role}")
    return identity


def identity_of(certificate: x509.Certificate) -> Identity:
    """Read the subject, believing it: for our own certificate, or before `verify` asks who vouches for it."""
    try:
        subject = certificate.subject
    except ValueError as error:
        raise NotAuthentic("the certificate's subject is malformed") from error
    identity = Identity(
        node_id=_name(subject, NameOID.COMMON_NAME),
        role=_name(subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        cluster_id=_name(subject, NameOID.ORGANIZATION_NAME),
    )
    if identity.role not in {MANAGER, WORKER}:
        raise NotAuthentic(f"not a node's certificate: its role is {identity.role}")
    return identity


def _name(subject: x509.Name, oid: ObjectIdentifier) -> str:
    values = subject.get_attributes_for_oid(oid)
    if len(values) != 1:
        raise NotAuthentic("not a node's certificate: it must have one common name, one role and one organization")
    value = values[0].value
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _LONGEST_NAME:
        raise NotAuthentic("not a node's certificate: a name in its subject is empty, too long or not printable")
    return value


def _check_signature(certificate: x509.Certificate, roots: Sequence[x509.Certificate], identity: Identity) -> None:
    for root in roots:
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return
    raise NotAuthentic(
        f"the certificate of node {identity.node_id} is not signed by this swarm's root CA: it is of another swarm, "
        f"or of this one before it was made anew; let the node leave and join again"
    )


def _check_is_node(certificate: x509.Certificate, identity: Identity) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise NotAuthentic(f"the certificate of node {identity.node_id} does not say what it is for") from error
    if constraints.ca or not set(usages) >= _NODE_USAGES:
        raise NotAuthentic(f"the certificate of node {identity.node_id} is not made for links between nodes")


def _check_time(certificate: x509.Certificate, whose: str, now_ns: int) -> None:
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        raise NotAuthentic(f"{whose} is valid from {_date(begins)}, and it is {_date(now)}: compare the nodes' clocks")
    if now > ends:
        raise NotAuthentic(
            f"{whose} expired at {_date(ends)}, and it is {_date(now)}: let the node leave and join again"
        )


def _date(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
