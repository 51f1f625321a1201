"""Certificates, join tokens and their verification: plain functions; time and random bytes are arguments."""

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
