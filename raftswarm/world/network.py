"""Authenticated links: frames in order, both ways, between identities. Real ones are TLS over TCP (`transport`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from raftswarm.ca.identity import Credentials, Identity

__all__ = ["Identity", "Link", "Network", "SwarmNetwork"]


class Link(Protocol):
    """One connection. Frames are bytes, at most 4 MiB, delivered in order and once, or not at all."""

    @property
    def peer(self) -> Identity | None:
        """Who is at the other end; None for a caller without a certificate (a node that joins)."""
        ...

    @property
    def remote_address(self) -> str:
        """The other end's ``host:port`` as the network shows it."""
        ...

    def post(self, frame: bytes) -> bool:
        """Queue a frame; False, and nothing queued, when the queue is full or the link is closed."""
        ...

    def hold(self, frame: bytes) -> bool:
        """Queue a frame as `post` does, for whoever calls `flush` before this turn of the loop ends."""
        ...

    def flush(self) -> None:
        """Let what is queued leave now, as far as there is room on the way."""
        ...

    async def wait_room(self) -> None:
        """Return when the queue is at most half full; LinkClosed when it never will be."""
        ...

    async def receive(self) -> bytes:
        """Return the next frame; LinkClosed at the end."""
        ...

    async def receive_many(self) -> list[bytes]:
        """Return the next frame and whatever came with it; LinkClosed at the end."""
        ...

    async def aclose(self) -> None:
        """Flush what is queued if it goes quickly, then close; idempotent."""
        ...


class Network(Protocol):
    """One node's access to the others."""

    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        """Dial ``host:port`` from the node's own address; refuse a peer that is not a manager or not `expect_node`."""
        ...

    async def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        started: Callable[[str], None],
    ) -> None:
        """Listen until cancelled, one task per link; `started` gets the bound ``host:port``."""
        ...


class SwarmNetwork(Network, Protocol):
    """The network of a node that may have to join a swarm first, and whose certificate is renewed while it runs."""

    def renew(self, credentials: Credentials) -> None:
        """Use these for every link from now on; open links stay."""
        ...

    async def bootstrap_connect(self, address: str, root_digest: bytes) -> tuple[Link, str]:
        """Dial a manager without a certificate, trusting the root that a join token pins; return that root (PEM) too.

        InvalidToken when the root at that address is another one.
        """
        ...
