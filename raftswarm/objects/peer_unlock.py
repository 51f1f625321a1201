"""With what a locked manager asks its peers for the unlock key: a random secret, which they know by its digest."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

CREDENTIAL_BYTES: Final = 32


def digest_of(credential: bytes) -> bytes:
    """What the managers know of it. No salt: there is nothing to guess in 32 random bytes."""
    return hashlib.sha256(credential).digest()


def is_digest_of(digest: bytes, credential: bytes) -> bool:
    """Compare in a time that does not tell where they differ."""
    return hmac.compare_digest(digest, digest_of(credential))
