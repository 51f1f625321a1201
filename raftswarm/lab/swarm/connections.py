"""Connections between simulated machines: frames in order both ways, or an end, which may come late or never."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final
from zlib import crc32

import attrs
import trio

from raftswarm.ca.identity import Identity
from raftswarm.errors import LinkClosed
from raftswarm.lab.swarm.ways import Way
from raftswarm.transport.socket_link import QUEUE_BYTES
from raftswarm.wire.frames import LENGTH_BYTES, MAX_FRAME_BYTES

RESET: Final = "the other machine does not know this connection any more"
SILENCE: Final = "the other machine has not answered for too long"


@attrs.define(eq=False)
class Direction:
    """What one end sends and the other receives."""

    way: Way
    note: Callable[[str], None]
    """Hears of every frame that arrives."""
    has_power: Callable[[str], bool]
    on_their_way: deque[bytes | None] = attrs.field(factory=deque)
    """None is the end."""
    arrived: deque[bytes] = attrs.field(factory=deque)
    unread_bytes: int = 0
    """Sent, and not received by the program at the other end."""
    closed: str = ""
    """Why the sender can send no more; empty while it can."""
    ended: str = ""
    """Why nothing more will arrive."""
    is_abandoned: bool = False
    """The program that received has gone: what arrives is answered by a reset."""
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    back: Direction = attrs.field(init=False)

    def send(self, frame: bytes) -> bool:
        """Let a frame leave; False when there is no room for it, or the connection has ended."""
        size = len(frame) + LENGTH_BYTES
        if self.closed or (self.unread_bytes and self.unread_bytes + size > QUEUE_BYTES):
            return False
        self.unread_bytes += size
        self.on_their_way.append(frame)
        self.way.carry(self._arrive)
        return True

    def close(self, reason: str) -> None:
        """Send the end, behind everything else."""
        if not self.closed:
            self.closed = reason
            self.on_their_way.append(None)
            self.way.carry(self._arrive)
            self.changed.unpark_all()

    def end(self, reason: str) -> None:
        """Let nothing arrive any more; what has arrived can still be read."""
        if not self.ended:
            self.ended = reason
            self.changed.unpark_all()

    def _arrive(self) -> None:
        """One packet more is there; which of them it was makes no difference, they are put in order."""
        frame = self.on_their_way.popleft()
        if not self.has_power(self.way.receiver):
            return
        if frame is None:
            self.end("the other side closed the connection")
            self.back.cut_off(self.ended)
        elif self.is_abandoned:
            self.back.way.carry(self._reset)
        elif not self.ended:
            self.note(f"{self.way.sender}>{self.way.receiver} {len(frame)} {crc32(frame):08x}")
            self.arrived.append(frame)
            self.changed.unpark_all()

    def cut_off(self, reason: str) -> None:
        """Let the sender send no more; it has been told that nobody listens."""
        if not self.closed:
            self.closed = reason
            self.changed.unpark_all()

    def _reset(self) -> None:
        """The sender hears that its connection is gone."""
        if self.has_power(self.way.sender):
            self.cut_off(RESET)
            self.back.end(RESET)


@attrs.define(eq=False)
class Connection:
    """Two directions, from whoever called and back."""

    there: Direction
    back: Direction
    forgotten: Callable[[Connection], None]
    _ends_open: int = 2

    def __attrs_post_init__(self) -> None:
        """Let the two know each other."""
        self.there.back, self.back.back = self.back, self.there

    @property
    def machines(self) -> tuple[str, str]:
        """Who called whom."""
        return self.there.way.sender, self.there.way.receiver

    def break_off(self, reason: str) -> None:
        """End it for both, at once."""
        for direction in (self.there, self.back):
            direction.cut_off(reason)
            direction.end(reason)

    def leave(self, machine: str, *, silently: bool) -> None:
        """The program at that machine is gone: its kernel says so, unless the machine has no power left."""
        for outgoing, incoming in ((self.there, self.back), (self.back, self.there)):
            if outgoing.way.sender == machine:
                self.close_end(outgoing, incoming, "this process has ended", silently=silently)

    def close_end(self, outgoing: Direction, incoming: Direction, reason: str, *, silently: bool = False) -> None:
        """Close one of the ends."""
        if incoming.is_abandoned:
            return
        incoming.is_abandoned = True
        if silently:
            outgoing.cut_off(reason)
        else:
            outgoing.close(reason)
        incoming.end(reason)
        self._ends_open -= 1
        if not self._ends_open:
            self.forgotten(self)


class SimulatedLink:
    """One end of a connection (`world.network.Link`)."""

    def __init__(
        self, connection: Connection, outgoing: Direction, incoming: Direction, remote: str, peer: Identity | None
    ) -> None:
        self.peer = peer
        self.remote_address = remote
        self._connection = connection
        self._outgoing = outgoing
        self._incoming = incoming

    def post(self, frame: bytes) -> bool:
        """Queue a frame; False, and nothing queued, when the queue is full or the link is closed."""
        assert len(frame) <= MAX_FRAME_BYTES, "whoever makes frames keeps to their limit"
        return self._outgoing.send(frame)

    def hold(self, frame: bytes) -> bool:
        """Post it: nothing is saved by waiting."""
        return self.post(frame)

    def flush(self) -> None:
        """Everything has left."""

    async def wait_room(self) -> None:
        """Return when the queue is at most half full; LinkClosed when it never will be."""
        await trio.lowlevel.checkpoint()
        outgoing = self._outgoing
        while not outgoing.closed and outgoing.unread_bytes > QUEUE_BYTES // 2:
            await outgoing.changed.park()
        if outgoing.closed:
            raise LinkClosed(outgoing.closed)

    async def receive(self) -> bytes:
        """Return the next frame; LinkClosed at the end."""
        await self._wait_frame()
        return self._take()

    async def receive_many(self) -> list[bytes]:
        """Return the next frame and whatever came with it; LinkClosed at the end."""
        await self._wait_frame()
        return [self._take() for _ in range(len(self._incoming.arrived))]

    async def _wait_frame(self) -> None:
        incoming = self._incoming
        if incoming.arrived:
            await trio.lowlevel.checkpoint()
        while not incoming.arrived:
            if incoming.ended:
                await trio.lowlevel.checkpoint_if_cancelled()
                raise LinkClosed(incoming.ended)
            await incoming.changed.park()

    def _take(self) -> bytes:
        frame = self._incoming.arrived.popleft()
        self._incoming.unread_bytes -= len(frame) + LENGTH_BYTES
        self._incoming.changed.unpark_all()
        return frame

    def close(self) -> None:
        """Close; what the other end has not received yet stays for it. Idempotent."""
        self._connection.close_end(self._outgoing, self._incoming, f"the link to {self.remote_address} was closed")

    async def aclose(self) -> None:
        """Close, as whoever waits may."""
        self.close()
        await trio.lowlevel.checkpoint()
