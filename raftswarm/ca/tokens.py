"""Join tokens: ``SWMTKN-1-<digest of the root>-<secret>`` lets a node trust the swarm, and the swarm the node.

The role a token gives is not in it: the CA compares it with the manager's, then the worker's (SWARM 10.2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

import attrs

from raftswarm.errors import InvalidToken
from raftswarm.objects.ids import base36

SECRET_RANDOM_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_FORM: Final = re.compile(r"SWMTKN-(?:1|2-[01])-([0-9a-z]{50})-([0-9a-z]{25})", re.ASCII)
"""Version 2 is SwarmKit's for clusters that must be FIPS (1) or need not (0)."""


@attrs.frozen
class JoinToken:
    """What a joiner reads in a token."""

    root_digest: bytes
    """SHA-256 of the root certificate's PEM."""
    secret: str = attrs.field(repr=False)


def make_join_token(root: str, random_bytes: bytes) -> str:
    """Make a token for the swarm with that root (PEM) from 16 random bytes."""
    if len(random_bytes) != SECRET_RANDOM_BYTES:
        raise ValueError(f"a join token needs {SECRET_RANDOM_BYTES} random bytes, got {len(random_bytes)}")
    digest = base36(int.from_bytes(root_digest(root), "big")).rjust(50, "0")
    secret = base36(int.from_bytes(random_bytes, "big")).rjust(25, "0")
    return f"SWMTKN-1-{digest}-{secret}"


def parse_join_token(text: str) -> JoinToken:
    """Read a token; InvalidToken if it has another form."""
    form = _FORM.fullmatch(text)
    number = int(form[1], 36) if form else 0
    if form is None or number.bit_length() > 8 * _DIGEST_BYTES:
        raise InvalidToken("invalid join token")
    return JoinToken(number.to_bytes(_DIGEST_BYTES, "big"), form[2])


def same_token(presented: str, expected: str) -> bool:
    """Compare whole tokens in a time that does not tell where they differ."""
    return hmac.compare_digest(presented.encode(errors="surrogatepass"), expected.encode())


def root_digest(root: str) -> bytes:
    """What a token says of a root (PEM)."""
    return hashlib.sha256(root.encode()).digest()


def check_root(root: str, digest: bytes) -> None:
    """InvalidToken unless the token with that digest was made for this root (PEM)."""
    if not hmac.compare_digest(root_digest(root), digest):
        raise InvalidToken(f"remote CA does not match fingerprint. Expected: {digest.hex()}")
