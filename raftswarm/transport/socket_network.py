"""Dialling and listening over TCP, whatever the greeting is: handshakes have a time limit and a limited number."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from raftswarm.ca.identity import Identity
from raftswarm.errors import LinkClosed, LinkError, RaftSwarmError
from raftswarm.transport.socket_link import Channel, SocketLink
from raftswarm.transport.sockets import Address, KernelSockets, Listener, Sockets, Stream, listen, parse_address
from raftswarm.world.network import Link

logger = logging.getLogger("raftswarm.transport")

GREETING_SECONDS: Final = 5.0
"""For TCP's and TLS's handshakes and the welcome together."""
MAX_GREETINGS: Final = 64
"""Callers that have not shown who they are; one more, and the oldest of them is hung up on."""
_SHORTAGE_SECONDS: Final = 0.1


class Greeting(Protocol):
    """How one connection begins: its protocol's handshake, then frames that show who is who."""

    async def shake_hands(self, stream: Stream, /) -> Channel:
        """Agree on how to talk."""
        ...

    async def introduce(self, link: SocketLink) -> Identity | None:
        """Return who is at the other end, once both sides accept each other; NotAuthentic if one does not."""
        ...


class SocketNetwork(ABC):
    """One node's access to the others over TCP. The nursery it is given runs the writers of links it dials."""

    def __init__(self, nursery: trio.Nursery, local_host: str, sockets: Sockets | None = None) -> None:
        self._nursery = nursery
        self._local_host = local_host
        self._sockets = sockets or KernelSockets()
        self._greetings: dict[Stream, trio.CancelScope] = {}

    @abstractmethod
    def _begin_dialled(self, expect_node: str | None) -> Greeting:
        """Make the greeting for a connection that we dial."""

    @abstractmethod
    def _begin_called(self) -> Greeting:
        """Make the greeting for a connection that somebody dialled to us."""

    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        """Dial ``host:port`` from the node's own address; refuse a peer that is not a manager or not `expect_node`."""
        return await self._connect(address, self._begin_dialled(expect_node))

    async def _connect(self, address: str, greeting: Greeting) -> SocketLink:
        target = self._checked(parse_address(address))
        with trio.move_on_after(GREETING_SECONDS):
            stream = await self._sockets.dial(target, local_host=self._local_host)
            return await _greet(stream, greeting, self._nursery)
        raise LinkError(f"{target} did not answer within {GREETING_SECONDS:g} seconds")

    async def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        started: Callable[[str], None],
    ) -> None:
        """Listen until cancelled, one task per link; `started` gets the bound ``host:port``."""
        listener = listen(self._checked(parse_address(address)))
        try:
            started(str(listener.address))
            async with trio.open_nursery() as callers:
                while True:
                    stream = await _accept(self._sockets, listener)
                    callers.start_soon(self._receive_caller, stream, self._limit_greeting(stream), handler)
        finally:
            listener.close()

    def _checked(self, address: Address) -> Address:
        return address

    def _limit_greeting(self, stream: Stream) -> trio.CancelScope:
        if len(self._greetings) >= MAX_GREETINGS:
            oldest = next(iter(self._greetings))
            self._greetings.pop(oldest).cancel()
        scope = trio.CancelScope(deadline=trio.current_time() + GREETING_SECONDS)
        self._greetings[stream] = scope
        return scope

    async def _receive_caller(
        self, stream: Stream, limit: trio.CancelScope, handler: Callable[[Link], Awaitable[None]]
    ) -> None:
        async with trio.open_nursery() as nursery:
            link = await self._greet_caller(stream, limit, nursery)
            if link is None:
                return
            try:
                await handler(link)
            except LinkError as error:
                logger.info("link from %s: %s", stream.remote, error)
            finally:
                await link.aclose()

    async def _greet_caller(self, stream: Stream, limit: trio.CancelScope, nursery: trio.Nursery) -> SocketLink | None:
        try:
            with limit:
                return await _greet(stream, self._begin_called(), nursery)
            logger.warning("hung up on %s, which did not say who it is", stream.remote)
        except LinkClosed as error:
            logger.info("hung up on %s: %s", stream.remote, error)
        except RaftSwarmError as error:
            logger.warning("refused a caller from %s: %s", stream.remote, error)
        finally:
            self._greetings.pop(stream, None)
        return None


async def _greet(stream: Stream, greeting: Greeting, nursery: trio.Nursery) -> SocketLink:
    try:
        link = SocketLink(stream, await greeting.shake_hands(stream))
    except BaseException:
        stream.close()
        raise
    nursery.start_soon(link.write)
    try:
        link.peer = await greeting.introduce(link)
    except BaseException:
        await link.aclose()  # With the refusal, if that is what it was.
        raise
    return link


async def _accept(sockets: Sockets, listener: Listener) -> Stream:
    await trio.lowlevel.checkpoint()  # A crowd at the door does not stop those inside.
    while True:
        try:
            return await sockets.accept(listener)
        except OSError as error:
            # Out of descriptors or memory: connections wait in the backlog until links have closed.
            logger.warning("cannot accept connections on %s: %s", listener.address, error)
            await trio.sleep(_SHORTAGE_SECONDS)
