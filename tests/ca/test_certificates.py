"""Roots, signing requests and node certificates (SWARM 10.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from raftswarm.ca import (
    MANAGER,
    WORKER,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
    read_certificates,
    seeded_key,
)
from raftswarm.errors import RequestRefused

NOW_NS = 1_800_000_000 * 1_000_000_000
NOW = datetime.fromtimestamp(1_800_000_000, UTC)
NODE_KEY = new_key(b"\x17" * 48)


class Root(Protocol):
    certificate: str
    key: str


def issue(root: Root, role: str = WORKER, validity: timedelta = timedelta(days=90), csr: str = "") -> x509.Certificate:
    pem = issue_certificate(
        csr or make_signing_request(NODE_KEY),
        Identity("node1", role, "cluster1"),
        root=root.certificate,
        root_key=root.key,
        now_ns=NOW_NS,
        serial_bytes=b"\x99" * 16,
        validity=validity,
    )
    return read_certificates(pem)[0]


def names_of(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_a_root_is_self_signed_and_lasts_twenty_years(root: Root) -> None:
    certificate = read_certificates(root.certificate)[0]

    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == "CN=swarm-ca"
    assert certificate.not_valid_after_utc - NOW == timedelta(seconds=630_720_000)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_node_certificate_says_who_and_what_the_node_is(root: Root) -> None:
    subject = issue(root).subject

    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "node1"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value == WORKER
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "cluster1"


def test_only_managers_answer_to_the_name_of_the_ca(root: Root) -> None:
    assert names_of(issue(root, WORKER)) == [WORKER, "node1"]
    assert names_of(issue(root, MANAGER)) == [MANAGER, "node1", "swarm-ca"]


def test_a_certificate_is_valid_from_an_hour_ago_for_ninety_days(root: Root) -> None:
    certificate = issue(root)

    assert NOW - certificate.not_valid_before_utc == timedelta(hours=1)
    assert certificate.not_valid_after_utc - NOW == timedelta(days=90)


def test_less_than_an_hour_of_validity_becomes_ninety_days(root: Root) -> None:
    assert issue(root, validity=timedelta(hours=1)).not_valid_after_utc - NOW == timedelta(hours=1)
    assert issue(root, validity=timedelta(minutes=59)).not_valid_after_utc - NOW == timedelta(days=90)


def test_the_certificate_is_for_the_key_that_asked_and_by_the_root(root: Root) -> None:
    certificate = issue(root)

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert certificate.public_key().public_bytes(*form) == NODE_KEY.public_key().public_bytes(*form)
    certificate.verify_directly_issued_by(read_certificates(root.certificate)[0])
    assert certificate.serial_number == int.from_bytes(b"\x99" * 16, "big")


def test_names_in_the_request_are_ignored(root: Root) -> None:
    boast = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, MANAGER)])
    )
    request = boast.sign(new_key(b"\x18" * 48), SHA256()).public_bytes(Encoding.PEM).decode()

    certificate = issue(root, WORKER, csr=request)

    assert MANAGER not in certificate.subject.rfc4514_string()


def test_a_request_changed_after_it_was_signed_is_refused(root: Root) -> None:
    der = bytearray(x509.load_pem_x509_csr(make_signing_request(NODE_KEY).encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    request = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()

    with pytest.raises(RequestRefused, match="signed by its own key"):
        issue(root, csr=request)


@pytest.mark.parametrize(
    "csr", ["nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_what_is_no_request_is_refused(root: Root, csr: str) -> None:
    with pytest.raises(RequestRefused, match="not readable") as caught:
        issue(root, csr=csr)
    assert caught.value.code == "InvalidArgument"


def test_a_request_for_another_kind_of_key_is_refused(root: Root) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = request.sign(rsa.generate_private_key(65537, 1024), SHA256()).public_bytes(Encoding.PEM).decode()

    with pytest.raises(RequestRefused, match="elliptic-curve"):
        issue(root, csr=pem)


def test_with_seeded_keys_the_same_bytes_make_the_same_certificate() -> None:
    def make() -> str:
        root_key = seeded_key(b"\x01" * 32)
        root = create_root(root_key, now_ns=NOW_NS, serial_bytes=b"\x02" * 16)
        return issue_certificate(
            make_signing_request(seeded_key(b"\x03" * 32)),
            Identity("node1", WORKER, "cluster1"),
            root=root,
            root_key=key_to_pem(root_key),
            now_ns=NOW_NS,
            serial_bytes=b"\x04" * 16,
        )

    assert make() == make()
