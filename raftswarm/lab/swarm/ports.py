"""Published ports in a simulated swarm: who connects to one is told by the task behind it which task it is.

Streams between users, proxies and tasks are in memory; a proxy reaches only what its machine can reach.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Protocol

import attrs
import trio
from trio.abc import HalfCloseableStream
from trio.testing import memory_stream_pair


class Tasks(Protocol):
    """What runs in the whole swarm."""

    def find_task(self, machine: str, host: str) -> str | None:
        """The id of the task that listens at an address of its own; None if that machine cannot reach one."""
        ...


@attrs.define(eq=False)
class SimulatedPortListener:
    """A port that is taken (`world.ports.PortListener`)."""

    _ports: SimulatedPorts
    _address: tuple[str, int]
    _waiting: deque[HalfCloseableStream] = attrs.field(factory=deque)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def connect(self, stream: HalfCloseableStream) -> None:
        """Somebody connects."""
        self._waiting.append(stream)
        self._news.unpark_all()

    async def accept(self) -> HalfCloseableStream:
        """Return the next connection."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._news.park()
        return self._waiting.popleft()

    def close(self) -> None:
        """Refuse from now on; idempotent."""
        self._ports.give_back(self._address, self)


class SimulatedPorts:
    """One machine's ports (`world.ports.Ports`)."""

    def __init__(self, machine: str, tasks: Tasks) -> None:
        self._machine = machine
        self._tasks = tasks
        self._taken: dict[tuple[str, int], SimulatedPortListener] = {}

    def end_process(self) -> None:
        """The daemon is gone, and its ports with it."""
        self._taken.clear()

    def give_back(self, address: tuple[str, int], listener: SimulatedPortListener) -> None:
        """Let another have it, unless another has."""
        if self._taken.get(address) is listener:
            del self._taken[address]

    async def visit(self, port: int) -> str:
        """Connect to a published port as a user does; return the id of the task that answered, empty if none did.

        OSError when nothing listens on that port.
        """
        listener = self._taken.get((self._machine, port))
        if listener is None:
            raise OSError(errno.ECONNREFUSED, "connection refused")
        ours, theirs = memory_stream_pair()
        listener.connect(theirs)
        async with ours:
            await ours.send_eof()
            return b"".join([piece async for piece in ours]).decode()

    async def listen(self, host: str, port: int) -> SimulatedPortListener:
        """Take a port of an address of this machine; OSError if another has it."""
        await trio.lowlevel.checkpoint()
        if (host, port) in self._taken:
            raise OSError(errno.EADDRINUSE, "address already in use")
        listener = self._taken[host, port] = SimulatedPortListener(self, (host, port))
        return listener

    async def connect(self, host: str, port: int) -> HalfCloseableStream:  # noqa: ARG002 - the protocol's
        """Connect to a task, which says who it is; OSError if it does not run, or cannot be reached from here."""
        await trio.lowlevel.checkpoint()
        task_id = self._tasks.find_task(self._machine, host)
        if task_id is None:
            raise OSError(errno.ECONNREFUSED, "connection refused")
        ours, theirs = memory_stream_pair()
        await theirs.send_all(task_id.encode())
        await theirs.send_eof()
        return ours
