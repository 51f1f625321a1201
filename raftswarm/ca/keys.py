"""Private keys of nodes and roots: ECDSA P-256 in reality, Ed25519 from a seed where runs must repeat.

Ed25519 signatures are deterministic; ECDSA ones draw a nonce, so no seed would make a certificate come out the same.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from raftswarm.errors import NotAuthentic

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey

KEY_RANDOM_BYTES: Final = 48
"""Sixteen more than P-256 needs, so that the remainder below is as good as uniform (FIPS 186-5, A.2.1)."""
SEED_BYTES: Final = 32
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def new_key(random_bytes: bytes) -> PrivateKey:
    """Make a P-256 key from 48 random bytes."""
    if len(random_bytes) != KEY_RANDOM_BYTES:
        raise ValueError(f"a key needs {KEY_RANDOM_BYTES} random bytes, got {len(random_bytes)}")
    return derive_private_key(int.from_bytes(random_bytes, "big") % (_P256_ORDER - 1) + 1, SECP256R1())


def seeded_key(seed: bytes) -> PrivateKey:
    """Make an Ed25519 key from 32 bytes, for simulated worlds: all that is signed with it comes out the same."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seeded key needs {SEED_BYTES} bytes, got {len(seed)}")
    return Ed25519PrivateKey.from_private_bytes(seed)


def key_to_pem(key: PrivateKey) -> str:
    """Write a key as PKCS#8, in the clear."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_key(pem: str) -> PrivateKey:
    """Read a key; NotAuthentic when it is none of ours."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotAuthentic("the private key is not readable: it must be an unencrypted PEM key") from error
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise NotAuthentic("the private key must be an elliptic-curve or Ed25519 key")
    return key
