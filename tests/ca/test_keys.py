"""Private keys of nodes and roots (SWARM 10.1)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from raftswarm.ca import key_to_pem, new_key, read_key, seeded_key
from raftswarm.errors import NotAuthentic


def test_a_new_key_is_a_p256_key() -> None:
    key = new_key(b"\x17" * 48)

    assert isinstance(key, EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize("random_bytes", [b"\x00" * 48, b"\xff" * 48], ids=["lowest", "highest"])
def test_any_random_bytes_make_a_key(random_bytes: bytes) -> None:
    assert isinstance(new_key(random_bytes), EllipticCurvePrivateKey)


def test_a_key_survives_its_file() -> None:
    for key in (new_key(b"\x17" * 48), seeded_key(b"\x17" * 32)):
        assert key_to_pem(read_key(key_to_pem(key))) == key_to_pem(key)


def test_the_same_seed_makes_the_same_key_and_another_seed_another() -> None:
    pem = key_to_pem(seeded_key(b"\x01" * 32))

    assert key_to_pem(seeded_key(b"\x01" * 32)) == pem
    assert key_to_pem(seeded_key(b"\x02" * 32)) != pem


@pytest.mark.parametrize("count", [0, 32, 47, 49])
def test_too_few_or_too_many_random_bytes_are_a_mistake(count: int) -> None:
    with pytest.raises(ValueError, match="48 random bytes"):
        new_key(bytes(count))


@pytest.mark.parametrize("pem", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(pem: str) -> None:
    with pytest.raises(NotAuthentic, match="not readable"):
        read_key(pem)


def test_a_key_under_a_passphrase_or_of_another_kind_is_refused() -> None:
    sealed = new_key(b"\x17" * 48).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    with pytest.raises(NotAuthentic, match="unencrypted"):
        read_key(sealed.decode())

    other = rsa.generate_private_key(65537, 1024)  # Too short for anything but speed: it is refused before use.
    with pytest.raises(NotAuthentic, match="elliptic-curve"):
        read_key(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
