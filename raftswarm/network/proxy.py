"""Published ports on a node's own address, spread over the tasks behind them: a TCP proxy in user space.

Routes change all the time and connections live long, so they know little of each other: a connection asks its port for
backends when it opens, and never again. A port that cannot be bound is tried again; it keeps no other waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from typing import Final

import attrs
import trio
from trio.abc import HalfCloseableStream

from raftswarm.network.backends import Backends, Target
from raftswarm.wire.requests import Route
from raftswarm.world.ports import PortListener, Ports

logger = logging.getLogger("raftswarm.network")

MAX_CONNECTIONS: Final = 400
"""Each takes two descriptors of the usual 1,024."""
CONNECT_SECONDS: Final = 2.0
DEAD_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 0.05
MAX_RETRY_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 64 * 1024


@attrs.frozen(eq=False)
class _Port:
    """A published port and what serves it."""

    number: int
    backends: Backends = attrs.field(factory=Backends)
    serving: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Proxy:
    """Serves the TCP routes it is given, on one address."""

    def __init__(self, address: str, ports: Ports, *, max_connections: int = MAX_CONNECTIONS) -> None:
        """Listen on `address`, a host, as soon as `run` runs and there are routes."""
        self._address = address
        self._machine = ports
        self._room = trio.Semaphore(max_connections)
        self._ports: dict[int, _Port] = {}
        self._left_out: set[str] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for port in self._ports.values():
                nursery.start_soon(self._serve, nursery, port)
            await trio.sleep_forever()

    def set_routes(self, routes: Iterable[Route]) -> None:
        """Serve these from now on, and no others; connections that stand are left alone."""
        wanted: dict[int, list[Target]] = {}
        for route in routes:
            if route.port.protocol == "tcp":
                here = wanted.setdefault(route.port.published_port, [])
                here.extend(Target(backend.address, route.port.target_port) for backend in route.backends)
            else:
                self._leave_out(route)
        for number in [number for number in self._ports if number not in wanted]:
            self._ports.pop(number).serving.cancel()
        for number, targets in wanted.items():
            port = self._ports.get(number)
            if port is None:
                port = self._ports[number] = _Port(number)
                if self._nursery is not None:
                    self._nursery.start_soon(self._serve, self._nursery, port)
            port.backends.replace(targets)

    def _leave_out(self, route: Route) -> None:
        port = f"{route.port.published_port}/{route.port.protocol}"
        if port not in self._left_out:
            self._left_out.add(port)
            logger.warning("port %s is not published: only tcp is", port)

    async def _serve(self, nursery: trio.Nursery, port: _Port) -> None:
        with port.serving, closing(await self._listen(port.number)) as listener:
            while True:
                client = await _accept(listener)
                try:
                    await self._room.acquire()  # Until there is room, those who come next wait in the kernel's queue.
                except BaseException:
                    await trio.aclose_forcefully(client)
                    raise
                nursery.start_soon(self._carry, client, port.backends)

    async def _listen(self, number: int) -> PortListener:
        """Bind, sooner or later: somebody else may have the port."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._machine.listen(self._address, number)
            except OSError as error:
                if delay == FIRST_RETRY_SECONDS:
                    logger.warning("cannot publish port %d on %s yet: %s", number, self._address, error.strerror)
            await trio.sleep(delay)
            delay = min(delay * 2, MAX_RETRY_SECONDS)

    async def _carry(self, client: HalfCloseableStream, backends: Backends) -> None:
        try:
            async with client:
                backend = await self._reach(backends)
                if backend is not None:
                    async with backend:
                        await _join(client, backend)
        finally:
            self._room.release()

    async def _reach(self, backends: Backends) -> HalfCloseableStream | None:
        """Connect to the first backend that answers."""
        for target in backends.in_turn(trio.current_time()):
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    return await self._machine.connect(target.host, target.port)
            except (OSError, trio.TooSlowError):
                backends.mark_dead(target, trio.current_time() + DEAD_SECONDS)
        return None


async def _accept(listener: PortListener) -> HalfCloseableStream:
    while True:
        try:
            return await listener.accept()
        except OSError as error:  # Out of descriptors, or the client is gone already.
            logger.warning("cannot accept a connection: %s", error.strerror)
            await trio.sleep(FIRST_RETRY_SECONDS)


async def _join(client: HalfCloseableStream, backend: HalfCloseableStream) -> None:
    """Carry bytes both ways; the end of one direction is passed on and does not end the other."""

    async def carry(source: HalfCloseableStream, sink: HalfCloseableStream) -> None:
        try:
            while data := await source.receive_some(_CHUNK_BYTES):
                await sink.send_all(data)
            await sink.send_eof()
        except trio.BrokenResourceError:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, backend)
        nursery.start_soon(carry, backend, client)
