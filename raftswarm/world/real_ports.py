"""The machine's own TCP ports (`world.ports`)."""

from __future__ import annotations

import socket
from typing import Final

import attrs
import trio

_BACKLOG: Final = 128


@attrs.frozen(eq=False)
class RealPortListener:
    """A socket that listens."""

    _socket: trio.socket.SocketType

    async def accept(self) -> trio.SocketStream:
        """Return the next connection; OSError when there are no descriptors left, or the client is gone already."""
        accepted, _ = await self._socket.accept()
        return trio.SocketStream(accepted)

    def close(self) -> None:
        """Refuse from now on; idempotent."""
        self._socket.close()


class RealPorts:
    """`world.ports.Ports` for real."""

    async def listen(self, host: str, port: int) -> RealPortListener:
        """Take a port of an address of this machine; OSError if it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await listener.bind((host, port))
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return RealPortListener(listener)

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        """Connect to a task; OSError if nobody answers there."""
        return await trio.open_tcp_stream(host, port)
