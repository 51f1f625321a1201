"""TCP on trio with the calls we need: dial from a given address, listen, send at once what goes at once.

Plain non-blocking sockets, because a link's writer wants to send without a checkpoint when the kernel has room.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final, Protocol

import attrs
import trio

from raftswarm.errors import ConnectionRefused, InvalidSpec, LinkClosed, LinkError

RECEIVE_BYTES: Final = 64 * 1024
PORT_IN_USE: Final = "the port is in use; stop what listens there, or choose another listen address"
_BACKLOG: Final = 128
DEAD_PEER_MS: Final = 10_000
"""Bytes unacknowledged for this long end a link, so that a partition's end is not waited for in TCP's own back-off."""
_KEEPALIVE_SECONDS: Final = 5


@attrs.frozen
class Address:
    """``host:port``, or ``[host]:port`` for IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> Address:
    """Read an address; InvalidSpec if it has another form."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # Without brackets nobody can tell where an IPv6 address ends.
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise InvalidSpec(f"{text!r} is not an address: expected host:port, or [host]:port for IPv6")
    return Address(host, int(port))


@attrs.define(eq=False)
class Stream:
    """A connected socket."""

    _socket: socket.socket
    remote: Address
    _is_drained: bool = False
    """The last read took all there was: to read again would be in vain."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes at once; OSError when the connection is broken."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    async def send_all(self, data: bytes) -> None:
        """Send all of it; LinkClosed when the connection breaks."""
        with memoryview(data) as view:
            sent = 0
            try:
                while True:
                    sent += self.send_now(view[sent:])
                    if sent == len(view):
                        return
                    await trio.lowlevel.wait_writable(self._socket)
            except (OSError, trio.ClosedResourceError) as error:
                raise LinkClosed(f"the connection to {self.remote} broke: {_reason(error)}") from error

    async def receive_some(self) -> bytes:
        """Return what has come, waiting for something; LinkClosed at the end."""
        while True:
            if self._is_drained:
                try:
                    await trio.lowlevel.wait_readable(self._socket)
                except (OSError, trio.ClosedResourceError) as error:
                    raise LinkClosed(f"the connection to {self.remote} was closed here") from error
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                self._is_drained = True
                continue
            except OSError as error:
                raise LinkClosed(f"the connection to {self.remote} broke: {_reason(error)}") from error
            if not data:
                raise LinkClosed(f"{self.remote} closed the connection")
            self._is_drained = len(data) < RECEIVE_BYTES
            return data

    def close(self) -> None:
        """Close; whoever waits on it gets LinkClosed. Idempotent."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def dial(address: Address, *, local_host: str) -> Stream:
    """Connect, from `local_host` if it is not empty.

    Raises:
        ConnectionRefused: nothing listens there.
        LinkError: it cannot be reached.
    """
    family, target = await _resolve(address)
    try:
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.setblocking(False)
            if local_host:
                connection.bind((local_host, 0))
            code = connection.connect_ex(target)
            if code == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(connection)
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0 and connection.getsockname() == connection.getpeername():
                # TCP connects a socket to itself when the free port it dials is the one it was given.
                code = errno.ECONNREFUSED
            _check_connected(code, address)
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise LinkError(f"cannot reach {address} from {local_host or 'here'}: {_reason(error)}") from error
    return Stream(connection, address)


def _check_connected(code: int, address: Address) -> None:
    if code == errno.ECONNREFUSED:
        raise ConnectionRefused(f"nothing listens on {address}")
    if code != 0:
        raise OSError(code, errno.errorcode.get(code, str(code)))


def listen(address: Address) -> Listener:
    """Bind and listen; LinkError, saying what to do, when that is not possible. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            advice = PORT_IN_USE
        elif error.errno == errno.EADDRNOTAVAIL:
            advice = "this machine does not have that address; choose one of its own as listen address"
        else:
            advice = _reason(error)
        raise LinkError(f"cannot listen on {address}: {advice}") from error
    return Listener(listener)


@attrs.define(eq=False)
class Listener:
    """A listening socket."""

    _socket: socket.socket

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    async def accept(self) -> Stream:
        """Return the next connection; OSError when the machine is short of something."""
        while True:
            try:
                connection, remote = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                await trio.lowlevel.wait_readable(self._socket)
                continue
            try:
                connection.setblocking(False)
                _set_up(connection)
            except OSError:
                connection.close()  # It was gone before we looked.
                continue
            return Stream(connection, Address(remote[0], remote[1]))

    def close(self) -> None:
        """Stop listening; idempotent."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class Sockets(Protocol):
    """Where connections come from."""

    async def dial(self, address: Address, *, local_host: str) -> Stream:
        """Connect; as `dial`."""
        ...

    async def accept(self, listener: Listener) -> Stream:
        """Return the next connection; as `Listener.accept`."""
        ...


class KernelSockets:
    """From the kernel, as it gives them."""

    async def dial(self, address: Address, *, local_host: str) -> Stream:
        """Connect."""
        return await dial(address, local_host=local_host)

    async def accept(self, listener: Listener) -> Stream:
        """Return the next connection; OSError when the machine is short of something."""
        return await listener.accept()


async def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise LinkError(f"cannot find {address.host}: {_reason(error)}") from error
        return found[0][0], (str(found[0][4][0]), address.port)
    return (socket.AF_INET6 if version == 6 else socket.AF_INET), (address.host, address.port)


def _set_up(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS)


def _reason(error: BaseException) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
