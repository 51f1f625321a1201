"""Who may come in: what both ends check of the other's certificate, on real links and on simulated ones alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from raftswarm import ca  # Its functions are imported when a certificate is read: plain links read none.
from raftswarm.ca.identity import MANAGER, Credentials, Identity
from raftswarm.errors import NotAuthentic
from raftswarm.wire.greetings import Welcome, decode_welcome
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def _read_own_identity(admission: Admission) -> Identity:
    return ca.identity_of(ca.read_certificates(admission.credentials.certificate)[0])


def _read_roots(admission: Admission) -> tuple[Certificate, ...]:
    return ca.read_certificates(admission.credentials.roots)


@attrs.frozen
class Admission:
    """A node's own credentials, and its judgement of others by them; NotAuthentic if they are not readable."""

    credentials: Credentials
    clock: WallClock
    own_identity: Identity = attrs.field(init=False, default=attrs.Factory(_read_own_identity, takes_self=True))
    """Who this node is, by its own certificate."""
    _roots: tuple[Certificate, ...] = attrs.field(
        init=False, repr=False, default=attrs.Factory(_read_roots, takes_self=True)
    )

    def admit(self, certificate: bytes | None) -> Identity | None:
        """Judge a dialler by its certificate (DER); None without one: a node that wants to join."""
        if certificate is None:
            return None
        return self._verify(certificate)

    def accept_manager(self, certificate: bytes | None, address: str, expect_node: str | None) -> Identity:
        """Judge whoever answered at an address that we dialled."""
        if certificate is None:
            raise NotAuthentic(f"{address} showed no certificate")
        return check_manager(self._verify(certificate), address, expect_node)

    def _verify(self, certificate: bytes) -> Identity:
        return ca.verify(
            ca.read_certificates(certificate)[0],
            self._roots,
            self.clock.now_ns(),
            cluster_id=self.own_identity.cluster_id,
        )


def check_manager(identity: Identity, address: str, expect_node: str | None) -> Identity:
    """Refuse whoever is not a manager, or not the one expected."""
    if identity.role != MANAGER:
        raise NotAuthentic(f"{address} is node {identity.node_id}, which is not a manager")
    if expect_node is not None and identity.node_id != expect_node:
        raise NotAuthentic(f"{address} is node {identity.node_id}, not {expect_node}")
    return identity


def accept_pinned_manager(certificate: bytes | None, roots: str, root_digest: bytes, now_ns: int) -> Identity:
    """Judge whoever answered a node that knows nothing but its join token's digest of the root."""
    ca.check_root(roots, root_digest)
    if certificate is None:
        raise NotAuthentic("the manager showed no certificate")
    return ca.verify(ca.read_certificates(certificate)[0], ca.read_certificates(roots), now_ns, role=MANAGER)


async def receive_welcome(link: Link) -> Welcome:
    """Hear whether the node that we dialled accepts us; NotAuthentic, with its reason, if it does not."""
    welcome = decode_welcome(await link.receive())
    if welcome.refused:
        raise NotAuthentic(f"{link.remote_address} refused this node: {welcome.refused}")
    return welcome
