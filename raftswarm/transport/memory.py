"""Links in memory, for tests and simulated worlds: the same promises as TCP's, no sockets, any clock.

Certificates are judged by the same `Admission` as on real links; only TLS itself is missing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count

import attrs
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from raftswarm.ca.identity import Credentials, Identity
from raftswarm.ca.verification import read_certificates
from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError, NotAuthentic
from raftswarm.transport.admission import Admission, accept_pinned_manager, check_manager
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.socket_link import QUEUE_BYTES
from raftswarm.transport.sockets import PORT_IN_USE, Address, parse_address
from raftswarm.wire.frames import LENGTH_BYTES, MAX_FRAME_BYTES
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

logger = logging.getLogger("raftswarm.transport")

_FIRST_FREE_PORT = 32_768


class MemoryCable:
    """What the networks of several nodes are plugged into."""

    def __init__(self, queue_bytes: int = QUEUE_BYTES) -> None:
        self.queue_bytes = queue_bytes
        self._listeners: dict[str, _Listener] = {}
        self._wires: list[_Wire] = []
        self._free_ports = count(_FIRST_FREE_PORT)

    def plug(self, host: str, clock: WallClock, credentials: Credentials | None = None) -> MemoryNetwork:
        """Return the network of the node with that address."""
        return MemoryNetwork(self, host, clock, credentials)

    def plug_plain(self, host: str, identity: Identity) -> PlainMemoryNetwork:
        """Return the network of a member that claims who it is, as on plain links."""
        return PlainMemoryNetwork(self, host, identity)

    def kill(self, host: str) -> None:
        """End everything of that host as SIGKILL would: links break, its ports refuse."""
        for address in [address for address, listener in self._listeners.items() if listener.host == host]:
            del self._listeners[address]
        for wire in [wire for wire in self._wires if host in wire.hosts]:
            wire.break_off(f"{host} was killed")

    def listen(self, address: Address, listener: _Listener) -> str:
        """Give that address, or a free port of its host, to the listener."""
        bound = str(address if address.port else Address(address.host, next(self._free_ports)))
        if bound in self._listeners:
            raise LinkError(f"cannot listen on {bound}: {PORT_IN_USE}")
        self._listeners[bound] = listener
        return bound

    def stop_listening(self, address: str, listener: _Listener) -> None:
        """Take the address back, unless `kill` did."""
        if self._listeners.get(address) is listener:
            del self._listeners[address]

    def find(self, address: str) -> _Listener:
        """Return who listens there; ConnectionRefused if nobody does."""
        listener = self._listeners.get(str(parse_address(address)))
        if listener is None:
            raise ConnectionRefused(f"nothing listens on {address}")
        return listener

    def string(self, host: str, address: str, peer: Identity, caller: Identity | None) -> MemoryLink:
        """Run a new wire from `host` to whoever listens at `address`, hand them their end and return ours."""
        listener = self.find(address)
        wire = _Wire(self, (host, listener.host))
        self._wires.append(wire)
        ours, theirs = wire.pipes
        listener.take(MemoryLink(wire, ours, theirs, f"{host}:{next(self._free_ports)}", caller))
        return MemoryLink(wire, theirs, ours, address, peer)

    def forget(self, wire: _Wire) -> None:
        """It is cut."""
        self._wires.remove(wire)


@attrs.define(eq=False)
class _Listener:
    host: str
    network: _Plugged
    nursery: trio.Nursery
    handler: Callable[[Link], Awaitable[None]]

    def take(self, link: MemoryLink) -> None:
        self.nursery.start_soon(self._serve, link)

    async def _serve(self, link: MemoryLink) -> None:
        try:
            await self.handler(link)
        except LinkError as error:
            logger.info("link from %s: %s", link.remote_address, error)
        finally:
            await link.aclose()


class _Plugged:
    """What listens on a cable."""

    def __init__(self, cable: MemoryCable, host: str) -> None:
        self._cable = cable
        self._host = host

    async def serve(
        self,
        address: str,
        handler: Callable[[Link], Awaitable[None]],
        *,
        started: Callable[[str], None],
    ) -> None:
        """Listen until cancelled, one task per link; `started` gets the bound ``host:port``."""
        async with open_helpers() as nursery:
            listener = _Listener(self._host, self, nursery, handler)
            bound = self._cable.listen(parse_address(address), listener)
            try:
                started(bound)
                await trio.sleep_forever()
            finally:
                self._cable.stop_listening(bound, listener)


class MemoryNetwork(_Plugged):
    """One node's access to the others on the same cable (`world.network.SwarmNetwork`)."""

    def __init__(self, cable: MemoryCable, host: str, clock: WallClock, credentials: Credentials | None) -> None:
        super().__init__(cable, host)
        self._clock = clock
        self._admission = None if credentials is None else Admission(credentials, clock)

    def renew(self, credentials: Credentials) -> None:
        """Use these for every link from now on; open links stay."""
        self._admission = Admission(credentials, self._clock)

    @property
    def admission(self) -> Admission:
        """Our credentials; NotAuthentic before we have any."""
        if self._admission is None:
            raise NotAuthentic("this node has no certificate yet: it has to join a swarm first")
        return self._admission

    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        """Dial ``host:port``; refuse a peer that is not a manager or not `expect_node`."""
        admission = self.admission
        await trio.lowlevel.checkpoint()
        other = self._find(address).admission
        peer = admission.accept_manager(_shown_by(other), address, expect_node)
        try:
            caller = other.admit(_shown_by(admission))
        except NotAuthentic as refusal:
            raise NotAuthentic(f"{address} refused this node: {refusal}") from refusal
        return self._cable.string(self._host, address, peer, caller)

    def _find(self, address: str) -> MemoryNetwork:
        network = self._cable.find(address).network
        if not isinstance(network, MemoryNetwork):
            raise NotAuthentic(f"{address} has no certificate")
        return network

    async def bootstrap_connect(self, address: str, root_digest: bytes) -> tuple[Link, str]:
        """Dial a manager without a certificate, trusting the root that a join token pins; return that root, too."""
        await trio.lowlevel.checkpoint()
        other = self._find(address).admission
        roots = other.credentials.roots
        peer = accept_pinned_manager(_shown_by(other), roots, root_digest, self._clock.now_ns())
        return self._cable.string(self._host, address, peer, None), roots


class PlainMemoryNetwork(_Plugged):
    """One member's access to the others that were plugged in like it: identities are claimed, not proved."""

    def __init__(self, cable: MemoryCable, host: str, identity: Identity) -> None:
        super().__init__(cable, host)
        self.identity = identity

    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        """Dial ``host:port``; refuse a peer of another cluster, or that is not a manager or not `expect_node`."""
        await trio.lowlevel.checkpoint()
        other = self._cable.find(address).network
        if not isinstance(other, PlainMemoryNetwork):
            raise NotAuthentic(f"{address} wants certificates")
        peer, own = other.identity, self.identity
        if peer.cluster_id != own.cluster_id:
            raise NotAuthentic(f"node {own.node_id} belongs to cluster {own.cluster_id}, not to {peer.cluster_id}")
        check_manager(peer, address, expect_node)
        return self._cable.string(self._host, address, peer, own)


@attrs.define(eq=False)
class _Pipe:
    """One direction."""

    frames: deque[bytes] = attrs.field(factory=deque)
    """Posted, and not received yet."""
    waiting_bytes: int = 0
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)


@attrs.define(eq=False)
class _Wire:
    """Both directions: they end together."""

    cable: MemoryCable
    hosts: tuple[str, str]
    pipes: tuple[_Pipe, _Pipe] = attrs.field(factory=lambda: (_Pipe(), _Pipe()))
    cut: str = ""
    """Why; empty while it holds."""

    def break_off(self, reason: str) -> None:
        if not self.cut:
            self.cut = reason
            self.cable.forget(self)
            for pipe in self.pipes:
                pipe.changed.unpark_all()


class MemoryLink:
    """One end of a link."""

    def __init__(
        self, wire: _Wire, incoming: _Pipe, outgoing: _Pipe, remote_address: str, peer: Identity | None
    ) -> None:
        self.peer = peer
        self.remote_address = remote_address
        self._wire = wire
        self._incoming = incoming
        self._outgoing = outgoing
        self._queue_bytes = wire.cable.queue_bytes

    def post(self, frame: bytes) -> bool:
        """Queue a frame; False, and nothing queued, when the queue is full or the link is closed."""
        assert len(frame) <= MAX_FRAME_BYTES, "whoever makes frames keeps to their limit"
        size = len(frame) + LENGTH_BYTES
        pipe = self._outgoing
        if self._wire.cut or (pipe.waiting_bytes and pipe.waiting_bytes + size > self._queue_bytes):
            return False
        pipe.frames.append(frame)
        pipe.waiting_bytes += size
        pipe.changed.unpark_all()
        return True

    def hold(self, frame: bytes) -> bool:
        """Post it: nothing is saved by waiting."""
        return self.post(frame)

    def flush(self) -> None:
        """Everything has left."""

    async def wait_room(self) -> None:
        """Return when the queue is at most half full; LinkClosed when it never will be."""
        await trio.lowlevel.checkpoint()
        while not self._wire.cut and self._outgoing.waiting_bytes > self._queue_bytes // 2:
            await self._outgoing.changed.park()
        if self._wire.cut:
            raise LinkClosed(self._wire.cut)

    async def receive(self) -> bytes:
        """Return the next frame; LinkClosed at the end."""
        await trio.lowlevel.checkpoint()
        while not self._incoming.frames:
            if self._wire.cut:
                raise LinkClosed(self._wire.cut)
            await self._incoming.changed.park()
        frame = self._incoming.frames.popleft()
        self._incoming.waiting_bytes -= len(frame) + LENGTH_BYTES
        self._incoming.changed.unpark_all()
        return frame

    async def receive_many(self) -> list[bytes]:
        """Return the next frame, alone: so simulated worlds can let something happen between any two."""
        return [await self.receive()]

    async def aclose(self) -> None:
        """Close; what the other end has not received yet stays for it. Idempotent."""
        self._wire.break_off(f"the link to {self.remote_address} was closed")
        await trio.lowlevel.checkpoint()


def _shown_by(admission: Admission) -> bytes:
    return read_certificates(admission.credentials.certificate)[0].public_bytes(Encoding.DER)
