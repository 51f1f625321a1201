"""Published ports: plain TCP between users and tasks, apart from the links between nodes."""

from __future__ import annotations

from typing import Protocol

from trio.abc import HalfCloseableStream


class PortListener(Protocol):
    """A port that is taken. `close` gives it back."""

    async def accept(self) -> HalfCloseableStream:
        """Return the next connection; OSError when one could not be taken in, and the next may be."""
        ...

    def close(self) -> None:
        """Refuse from now on; idempotent."""
        ...


class Ports(Protocol):
    """What listens on a machine's ports, and reaches tasks at theirs."""

    async def listen(self, host: str, port: int) -> PortListener:
        """Take a port of an address of this machine; OSError if it cannot be had."""
        ...

    async def connect(self, host: str, port: int) -> HalfCloseableStream:
        """Connect to a task; OSError if nobody answers there."""
        ...
