"""Making certificates: a swarm's root, a node's signing request, and the certificate it gets (SWARM 10.1).

From a signing request only the key is taken: who its owner is, the signer decides.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftswarm.ca.identity import MANAGER, Identity
from raftswarm.ca.keys import PrivateKey, read_key
from raftswarm.ca.verification import read_certificates
from raftswarm.errors import RequestRefused

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

ROOT_NAME: Final = "swarm-ca"
ROOT_VALIDITY: Final = timedelta(seconds=630_720_000)
NODE_VALIDITY: Final = timedelta(days=90)
MIN_NODE_VALIDITY: Final = timedelta(hours=1)
BACKDATE: Final = timedelta(hours=1)
"""Clocks of nodes may differ by this much."""
SERIAL_BYTES: Final = 16


def create_root(key: PrivateKey, *, now_ns: int, serial_bytes: bytes) -> str:
    """Make a self-signed root certificate for `key`, as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ROOT_NAME)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _begin(name, name, key.public_key(), now_ns=now_ns, validity=ROOT_VALIDITY, serial_bytes=serial_bytes)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return _sign(builder, key)


def make_signing_request(key: PrivateKey) -> str:
    """Make a request that proves possession of `key`, as PEM. Its subject is empty: nobody would believe it."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, _hash_for(key)).public_bytes(Encoding.PEM).decode()


def issue_certificate(
    csr: str,
    identity: Identity,
    *,
    root: str,
    root_key: str,
    now_ns: int,
    serial_bytes: bytes,
    validity: timedelta = NODE_VALIDITY,
) -> str:
    """Sign the request's key as `identity`'s, as PEM; RequestRefused when the request is no good."""
    public_key = _read_signing_request(csr)
    issuer = read_certificates(root)[0]
    key = read_key(root_key)
    if validity < MIN_NODE_VALIDITY:
        validity = NODE_VALIDITY  # As SwarmKit's signing policy does; the API refuses such values.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, identity.role),
            x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id),
        ]
    )
    hosts = [identity.role, identity.node_id, *([ROOT_NAME] if identity.role == MANAGER else [])]
    issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _begin(subject, issuer.subject, public_key, now_ns=now_ns, validity=validity, serial_bytes=serial_bytes)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
    )
    return _sign(builder, key)


def _read_signing_request(csr: str) -> PublicKey:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        public_key = request.public_key()
        proved = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestRefused("the certificate signing request is not readable", code="InvalidArgument") from error
    if not proved:
        raise RequestRefused("the certificate signing request is not signed by its own key", code="InvalidArgument")
    if not isinstance(public_key, EllipticCurvePublicKey | Ed25519PublicKey):
        raise RequestRefused("the key must be an elliptic-curve or Ed25519 key", code="InvalidArgument")
    return public_key


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    *,
    now_ns: int,
    validity: timedelta,
    serial_bytes: bytes,
) -> x509.CertificateBuilder:
    if len(serial_bytes) != SERIAL_BYTES:
        raise ValueError(f"a serial number needs {SERIAL_BYTES} random bytes, got {len(serial_bytes)}")
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + validity)
        .serial_number(int.from_bytes(serial_bytes, "big") or 1)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> str:
    return builder.sign(key, _hash_for(key)).public_bytes(Encoding.PEM).decode()


def _hash_for(key: PrivateKey) -> SHA256 | None:
    return None if isinstance(key, Ed25519PrivateKey) else SHA256()
