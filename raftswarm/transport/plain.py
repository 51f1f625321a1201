"""Links without TLS, for members embedded in programs on one machine: identities are claimed, not proved.

So they reach and listen on loopback addresses only, and nobody gets them without asking.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from raftswarm.ca.identity import Identity
from raftswarm.errors import InvalidSpec, NotAuthentic
from raftswarm.transport.admission import check_manager, receive_welcome
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.socket_link import SocketLink
from raftswarm.transport.socket_network import Greeting, SocketNetwork
from raftswarm.transport.sockets import Address, Stream
from raftswarm.wire.greetings import Claim, Welcome, decode_claim, encode_claim, encode_welcome


@asynccontextmanager
async def open_plain_network(identity: Identity, *, local_host: str = "") -> AsyncIterator[PlainNetwork]:
    """Links that live as long as the context, to others of the same cluster that say who they are."""
    async with open_helpers() as nursery:
        yield PlainNetwork(nursery, identity, local_host)


class PlainNetwork(SocketNetwork):
    """`world.network.Network` without proof; made by `open_plain_network`."""

    def __init__(self, nursery: trio.Nursery, identity: Identity, local_host: str) -> None:
        super().__init__(nursery, local_host)
        self._identity = identity

    def _begin_dialled(self, expect_node: str | None) -> Greeting:
        return _Dialling(self._identity, expect_node)

    def _begin_called(self) -> Greeting:
        return _Answering(self._identity)

    def _checked(self, address: Address) -> Address:
        if not address.is_loopback:
            raise InvalidSpec(f"links without TLS stay on this machine, and {address} is not a loopback address")
        return address


class _PlainGreeting:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._claim = Claim(node_id=identity.node_id, role=identity.role, cluster_id=identity.cluster_id)

    async def shake_hands(self, _stream: Stream) -> PlainChannel:
        """Nothing to agree on."""
        return PlainChannel()


class _Dialling(_PlainGreeting):
    def __init__(self, identity: Identity, expect_node: str | None) -> None:
        super().__init__(identity)
        self._expect_node = expect_node

    async def introduce(self, link: SocketLink) -> Identity:
        """Say who we are, hear who they are."""
        link.post(encode_claim(self._claim))
        welcome = await receive_welcome(link)
        if welcome.claim is None:
            raise NotAuthentic(f"{link.remote_address} does not say who it is")
        return check_manager(welcome.claim.identity, link.remote_address, self._expect_node)


class _Answering(_PlainGreeting):
    async def introduce(self, link: SocketLink) -> Identity:
        """Hear who they are, say who we are."""
        identity = decode_claim(await link.receive()).identity
        if identity.cluster_id != self._identity.cluster_id:
            refusal = (
                f"node {identity.node_id} belongs to cluster {identity.cluster_id}, not to {self._identity.cluster_id}"
            )
            link.post(encode_welcome(Welcome(refused=refusal)))
            raise NotAuthentic(refusal)
        link.post(encode_welcome(Welcome(claim=self._claim)))
        return identity


class PlainChannel:
    """What we say is what the socket carries (`socket_link.Channel`)."""

    has_output = False

    def seal(self, data: bytes) -> bytes:
        """Return it as it is."""
        return data

    def open(self, received: bytes) -> bytes:
        """Return it as it is."""
        return received

    def say_goodbye(self) -> bytes:
        """Closing the socket says it."""
        return b""
