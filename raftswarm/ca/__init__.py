"""Certificates, join tokens and their verification: plain functions; time and random bytes are arguments."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftswarm.ca.certificates import create_root, issue_certificate, make_signing_request
    from raftswarm.ca.identity import MANAGER, WORKER, Credentials, Identity
    from raftswarm.ca.keys import key_to_pem, new_key, read_key, seeded_key
    from raftswarm.ca.tokens import JoinToken, check_root, make_join_token, parse_join_token, root_digest, same_token
    from raftswarm.ca.verification import identity_of, read_certificates, verify

__all__ = [
    "MANAGER",
    "WORKER",
    "Credentials",
    "Identity",
    "JoinToken",
    "check_root",
    "create_root",
    "identity_of",
    "issue_certificate",
    "key_to_pem",
    "make_join_token",
    "make_signing_request",
    "new_key",
    "parse_join_token",
    "read_certificates",
    "read_key",
    "root_digest",
    "same_token",
    "seeded_key",
    "verify",
]

_HOMES = {
    "MANAGER": "identity",
    "WORKER": "identity",
    "Credentials": "identity",
    "Identity": "identity",
    "JoinToken": "tokens",
    "check_root": "tokens",
    "create_root": "certificates",
    "identity_of": "verification",
    "issue_certificate": "certificates",
    "key_to_pem": "keys",
    "make_join_token": "tokens",
    "make_signing_request": "certificates",
    "new_key": "keys",
    "parse_join_token": "tokens",
    "read_certificates": "verification",
    "read_key": "keys",
    "root_digest": "tokens",
    "same_token": "tokens",
    "seeded_key": "keys",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    """Import what is first asked for (PEP 562): whoever opens no TLS link does without the X.509 library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
