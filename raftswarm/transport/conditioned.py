"""TCP under made-up conditions: ways that are cut, slow or lossy, below TLS, so that neither end is told.

What arrives over a way that is cut stays in the kernel, as what is lost on a real one stays with its sender until it is
sent again. Nor is an end of the connection seen, or a reset: nothing gets through. When a way has been cut for as long
as TCP would try, each end gives up for itself.
"""

from __future__ import annotations

import errno
import math
import os
from collections import deque
from random import Random
from typing import Final

import attrs
import trio

from raftswarm.errors import LinkClosed
from raftswarm.transport.sockets import DEAD_PEER_MS, RECEIVE_BYTES, Address, Listener, Stream, dial
from raftswarm.world.conditions import ConditionsFollower, LinkConditions

RETRANSMISSION_SECONDS: Final = 0.2
"""Linux's least, doubled each time that the same bytes are lost again."""
FIRST_RETRANSMISSION_SECONDS: Final = 1.0
"""Of a connection's first packet."""
MOST_LOSSES: Final = 6
ON_THE_WAY: Final = 16
"""So many pieces may be delayed at a time; more wait in the kernel."""


@attrs.define(eq=False)
class ConditionedSockets:
    """Dials and accepts under conditions."""

    _conditions: ConditionsFollower
    _chance: Random

    async def dial(self, address: Address, *, local_host: str) -> Stream:
        """Connect when the ways there and back let a packet through; whoever waits decides for how long."""
        while True:
            there = self._conditions.current.link(local_host, address.host)
            back = self._conditions.current.link(address.host, local_host)
            if not (there.cut or back.cut):
                break
            with self._conditions.until_changed():
                await trio.sleep_forever()
        for way in (there, back):
            await trio.sleep(way.delay_seconds + draw_stall(way.loss, self._chance, FIRST_RETRANSMISSION_SECONDS))
        return self._wrap(await dial(address, local_host=local_host), local_host)

    async def accept(self, listener: Listener) -> Stream:
        """Return the next connection; OSError when the machine is short of something."""
        return self._wrap(await listener.accept(), listener.address.host)

    def _wrap(self, stream: Stream, here: str) -> Stream:
        return ConditionedStream.around(stream, here, self._conditions, self._chance)


def draw_stall(loss: float, chance: Random, first_seconds: float = RETRANSMISSION_SECONDS) -> float:
    """Draw how long it takes until a packet gets through, beyond what it takes anyway."""
    stall = 0.0
    for losses in range(MOST_LOSSES):
        if chance.random() >= loss:
            break
        stall += first_seconds * 2**losses
    return stall


@attrs.define(eq=False)
class ConditionedStream(Stream):
    """A connected socket between two nodes, each known by its host."""

    _here: str = attrs.field(kw_only=True, alias="here")
    _conditions: ConditionsFollower = attrs.field(kw_only=True, alias="conditions")
    _chance: Random = attrs.field(kw_only=True, alias="chance")
    _arriving: deque[tuple[float, bytes | LinkClosed]] = attrs.field(factory=deque, init=False)
    """What has come, or the end, and when it is there: in order, so that what is late holds up what is behind it."""
    _cut_since: float = attrs.field(default=math.inf, init=False)
    _reader: trio.CancelScope | None = attrs.field(default=None, init=False)
    """Around whoever waits in `receive_some`."""
    _is_closed: bool = attrs.field(default=False, init=False)

    @classmethod
    def around(cls, stream: Stream, here: str, conditions: ConditionsFollower, chance: Random) -> ConditionedStream:
        """Take over a connection."""
        connection = stream._socket  # noqa: SLF001 - it is of the same kind
        return cls(connection, stream.remote, here=here, conditions=conditions, chance=chance)

    @property
    def _incoming(self) -> LinkConditions:
        return self._conditions.current.link(self.remote.host, self._here)

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes at once; OSError when the connection is broken, and that can be known here."""
        try:
            return super().send_now(data)
        except OSError:
            if self._incoming.cut:
                return len(data)  # Whoever broke it cannot tell us.
            raise

    def close(self) -> None:
        """Close; whoever waits on it gets LinkClosed. Idempotent."""
        self._is_closed = True
        super().close()
        if self._reader is not None:
            self._reader.cancel()

    async def receive_some(self) -> bytes:
        """Return what has come by now, waiting for something; LinkClosed at the end, or when TCP gives up."""
        while not self._is_closed:
            now, way = trio.current_time(), self._incoming
            if self._arriving and not way.cut and self._arriving[0][0] <= now:
                _, arrived = self._arriving.popleft()
                if isinstance(arrived, LinkClosed):
                    raise arrived
                return arrived
            due = self._arriving[0][0] if self._arriving and not way.cut else math.inf
            with self._conditions.until_changed(min(due, self._gives_up_at(way, now))) as self._reader:
                if way.cut or self._has_enough():
                    await trio.sleep_forever()
                await self._take_in()
        raise LinkClosed(f"the connection to {self.remote} was closed here")

    def _gives_up_at(self, incoming: LinkConditions, now: float) -> float:
        """When TCP ends a connection over these ways; LinkClosed when that is now."""
        outgoing = self._conditions.current.link(self._here, self.remote.host)
        if not (incoming.cut or outgoing.cut):
            self._cut_since = math.inf
            return math.inf
        self._cut_since = min(self._cut_since, now)
        gives_up_at = self._cut_since + DEAD_PEER_MS / 1000
        if now >= gives_up_at:
            raise LinkClosed(f"the connection to {self.remote} broke: {os.strerror(errno.ETIMEDOUT)}")
        return gives_up_at

    def _has_enough(self) -> bool:
        ended = bool(self._arriving) and isinstance(self._arriving[-1][1], LinkClosed)
        return ended or len(self._arriving) >= ON_THE_WAY

    async def _take_in(self) -> None:
        """Read what the kernel has, which will be there when the way is done with it."""
        arrived: bytes | LinkClosed
        try:
            arrived = await super().receive_some()
        except LinkClosed as end:
            arrived = end
        way = self._incoming  # It may have changed while we waited.
        there_at = trio.current_time() + way.delay_seconds + draw_stall(way.loss, self._chance)
        self._arriving.append((there_at, arrived))


assert RECEIVE_BYTES * ON_THE_WAY <= 1 << 20, "what is on its way stays small"
