"""A node's key, certificate and roots on its disk: stored at first, replaced by renewals, read at every start."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from raftswarm.ca import Credentials, read_certificates, read_key
from raftswarm.errors import CorruptLog
from raftswarm.node.state_directory import StateDirectory
from raftswarm.storage.keys import KeyRing

NODE_KEY: Final = "tls"
NEXT_NODE_KEY: Final = "tls-next"
TASKS_KEY: Final = "tasks"
ROOT_FILE: Final = "swarm-root-ca.crt"
CERTIFICATE_FILE: Final = "swarm-node.crt"


def store_renewed(directory: StateDirectory, keys: KeyRing, credentials: Credentials) -> None:
    """Replace key, certificate and roots; a crash at any moment leaves a key that fits the certificate."""
    keys.put(NEXT_NODE_KEY, credentials.key.encode())
    directory.write_public(ROOT_FILE, credentials.roots)
    directory.write_public(CERTIFICATE_FILE, credentials.certificate)
    keys.put(NODE_KEY, credentials.key.encode())


def read_credentials(directory: StateDirectory, keys: KeyRing) -> Credentials:
    """Return what this node shows on its links; CorruptLog if no key of it fits its certificate."""
    certificate = directory.read_public(CERTIFICATE_FILE)
    wanted = _public_part(read_certificates(certificate)[0].public_key())
    for name in (NODE_KEY, NEXT_NODE_KEY):
        key = keys.get(name)
        if key is not None and _public_part(read_key(key.decode()).public_key()) == wanted:
            return Credentials(certificate=certificate, key=key.decode(), roots=directory.read_public(ROOT_FILE))
    raise CorruptLog(
        f"no key of this node fits {directory.certificates}/{CERTIFICATE_FILE}: restore that file, or remove the state "
        f"directory and join again"
    )


def _public_part(key: object) -> bytes:
    part: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return part
