"""Sealing: a key of its own for every file, drawn from the data key, so that a plain counter is a safe nonce.

A nonce must never serve twice under one key. Every segment and snapshot begins with 32 random bytes, and HKDF makes its
key from them; within a file the counter only grows; and nobody appends to a file of an earlier run.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
KEY_ID_BYTES: Final = 8

SEGMENT: Final = b"raftswarm segment 1"
SNAPSHOT: Final = b"raftswarm snapshot 1"
KEYS: Final = b"raftswarm keys 1"
_KEY_ID: Final = b"raftswarm key id 1"


class Damaged(Exception):
    """These bytes are not what was written; says why. Whoever knows the file and the place makes it a CorruptLog."""


class Seal:
    """AES-256-GCM under the key of one file."""

    def __init__(self, key: bytes, salt: bytes, purpose: bytes) -> None:
        self._cipher = AESGCM(_derive(key, salt, purpose, KEY_BYTES))

    def close(self, counter: int, plain: bytes, authenticated: bytes) -> bytes:
        """Seal `plain`; 16 bytes longer, the last of which are its tag. `counter` must be new in this file."""
        return self._cipher.encrypt(counter.to_bytes(12, "big"), plain, authenticated)

    def open(self, counter: int, sealed: bytes | memoryview, authenticated: bytes) -> bytes:
        """Return what was sealed; Damaged unless every bit is as it was."""
        try:
            return self._cipher.decrypt(counter.to_bytes(12, "big"), sealed, authenticated)
        except InvalidTag:
            raise Damaged("it does not open with this node's key") from None


@lru_cache(maxsize=64)  # Asked for every segment that is begun or read; a process knows a few keys.
def key_id(key: bytes) -> bytes:
    """Name a key without giving it away."""
    return _derive(key, b"", _KEY_ID, KEY_ID_BYTES)


def find_key(named: bytes, keys: Iterable[bytes]) -> bytes | None:
    """Return the key of that name; None if it is not among them."""
    return next((key for key in keys if key_id(key) == named), None)


def _derive(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=purpose).derive(key)
