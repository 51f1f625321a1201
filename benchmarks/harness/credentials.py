"""Certificates for the clusters that are measured: ours from our own root, etcd's with the addresses it asks for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftswarm.ca import (
    MANAGER,
    Credentials,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
)


def write_credentials(directory: Path, names: Iterable[str]) -> None:
    """Make a root, and a certificate of it for each name, to be read by `read_credentials`."""
    now_ns = time.time_ns()
    root_key = new_key(secrets.token_bytes(48))
    root = create_root(root_key, now_ns=now_ns, serial_bytes=secrets.token_bytes(16))
    for name in names:
        key = new_key(secrets.token_bytes(48))
        certificate = issue_certificate(
            make_signing_request(key),
            Identity(name, MANAGER, "embedded"),
            root=root,
            root_key=key_to_pem(root_key),
            now_ns=now_ns,
            serial_bytes=secrets.token_bytes(16),
        )
        _path(directory, name).write_text(json.dumps([certificate, key_to_pem(key), root]))


def read_credentials(directory: Path, name: str) -> Credentials | None:
    """Return what `write_credentials` made for that name; None if it made nothing: links are plain then."""
    path = _path(directory, name)
    return Credentials(*json.loads(path.read_text())) if path.exists() else None


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.pem.json"


def write_loopback_certificate(directory: Path) -> None:
    """Make `ca.pem`, and `cert.pem` with `key.pem` for 127.0.0.1: a server's and a client's at once."""
    now = dt.datetime.now(dt.UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark root")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark member")])

    def begin(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
        )

    root = (
        begin(root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    certificate = (
        begin(name, key.public_key())
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
