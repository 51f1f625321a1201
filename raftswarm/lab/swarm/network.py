"""One simulated machine's access to the others: dialling, listening, and who may come in.

Certificates are judged on both sides by the same `Admission` as on real links, at the time of the machine's own clock;
only TLS itself is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio
from cryptography.hazmat.primitives.serialization import Encoding

from raftswarm.ca.identity import Credentials
from raftswarm.ca.verification import read_certificates
from raftswarm.errors import LinkError, NotAuthentic
from raftswarm.lab.swarm.connections import SimulatedLink
from raftswarm.lab.swarm.fabric import Call, Fabric
from raftswarm.transport.admission import Admission, accept_pinned_manager
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.socket_network import GREETING_SECONDS
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

logger = logging.getLogger("raftswarm.transport")


class SimulatedNodeNetwork:
    """`world.network.SwarmNetwork` on a fabric."""

    def __init__(self, fabric: Fabric, machine: str, clock: WallClock, credentials: Credentials | None) -> None:
        self._fabric = fabric
        self._machine = machine
        self._clock = clock
        self._admission: Admission | None = None
        self._certificate: bytes | None = None
        if credentials is not None:
            self.renew(credentials)

    def renew(self, credentials: Credentials) -> None:
        """Use these for every link from now on; open links stay."""
        self._admission = Admission(credentials, self._clock)
        self._certificate = read_certificates(credentials.certificate)[0].public_bytes(Encoding.DER)

    def _current(self) -> Admission:
        if self._admission is None:
            raise NotAuthentic("this node has no certificate yet: it has to join a swarm first")
        return self._admission

    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        """Dial ``host:port``; refuse a peer that is not a manager or not `expect_node`."""
        admission = self._current()
        link, (certificate, _, refused) = await self._dial(address, self._certificate)
        try:
            link.peer = admission.accept_manager(certificate, address, expect_node)
        except NotAuthentic:
            link.close()
            raise
        if refused:
            link.close()
            raise NotAuthentic(f"{address} refused this node: {refused}")
        return link

    async def bootstrap_connect(self, address: str, root_digest: bytes) -> tuple[Link, str]:
        """Dial a manager without a certificate, trusting the root that a join token pins; return that root, too."""
        link, (certificate, roots, _) = await self._dial(address, None)
        try:
            link.peer = accept_pinned_manager(certificate, roots, root_digest, self._clock.now_ns())
        except Exception:
            link.close()
            raise
        return link, roots

    async def _dial(self, address: str, certificate: bytes | None) -> tuple[SimulatedLink, tuple[bytes, str, str]]:
        call = Call(self._machine, address, certificate)
        try:
            with trio.move_on_after(GREETING_SECONDS):
                self._fabric.dial(call)
                await call.answered.wait()
        except BaseException:
            call.give_up()
            raise
        if call.failure is not None:
            raise call.failure
        if call.link is None:
            call.give_up()
            raise LinkError(f"{address} did not answer within {GREETING_SECONDS:g} seconds")
        return call.link, call.answer

    async def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        started: Callable[[str], None],
    ) -> None:
        """Listen until cancelled, one task per link; `started` gets the bound ``host:port``."""
        bound, listener = self._fabric.listen(self._machine, address)
        try:
            started(bound)
            async with open_helpers() as callers:
                while True:
                    link = self._answer(await listener.next_call())
                    if link is not None:
                        callers.start_soon(self._serve, link, handler)
        finally:
            self._fabric.stop_listening(bound, listener)

    def _answer(self, call: Call) -> SimulatedLink | None:
        """Judge a caller; None for one that is refused, and told why."""
        admission = self._current()
        assert self._certificate is not None, "who has an admission has a certificate"
        connection, caller_address = self._fabric.connect(call, self._machine)
        there, back = connection.there, connection.back
        roots = admission.credentials.roots if call.certificate is None else ""
        link: SimulatedLink | None = None
        refused = ""
        try:
            peer = admission.admit(call.certificate)
            link = SimulatedLink(connection, outgoing=back, incoming=there, remote=caller_address, peer=peer)
        except NotAuthentic as refusal:
            refused = str(refusal)
            logger.info("link from %s: %s", caller_address, refused)
        theirs = SimulatedLink(connection, outgoing=there, incoming=back, remote=call.address, peer=None)
        self._fabric.answer(call, self._machine, theirs, (self._certificate, roots, refused))
        if link is None:
            connection.close_end(back, there, "refused")
        return link

    async def _serve(self, link: SimulatedLink, handler: Callable[[Link], Awaitable[None]]) -> None:
        try:
            await handler(link)
        except LinkError as error:
            logger.info("link from %s: %s", link.remote_address, error)
        finally:
            link.close()
