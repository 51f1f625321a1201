"""Opening the sockets that an API is served on.

A unix socket belongs to its user alone. TCP without TLS is opened on loopback only, and only when asked for: whoever
reaches an engine's API owns the machine.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from raftswarm.errors import InvalidSpec
from raftswarm.http.addresses import Address, TcpAddress, UnixAddress


@asynccontextmanager
async def open_listener(
    address: Address, *, tls: ssl.SSLContext | None = None, plain_tcp: bool = False
) -> AsyncIterator[trio.abc.Listener[Any]]:
    """Listen on an address while the context lasts; `InvalidSpec` when that cannot be."""
    if isinstance(address, UnixAddress):
        async with _unix_listener(address) as listener:
            yield listener
        return
    if tls is None and not (plain_tcp and _is_loopback(address.host)):
        raise InvalidSpec(
            f"{address} needs TLS: without it the API is served on a unix socket, or on loopback if asked"
        )
    listener = await _listen_on_tcp(address)
    async with listener:
        yield trio.SSLListener(listener, tls, https_compatible=True) if tls else listener


def bound_address(listener: trio.abc.Listener[Any]) -> Address:
    """Say where a listener listens, with the port that the system chose."""
    inner = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(inner, trio.SocketListener)
    name = inner.socket.getsockname()
    return UnixAddress(name) if isinstance(name, str) else TcpAddress(name[0], name[1])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _listen_on_tcp(address: TcpAddress) -> trio.SocketListener:
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise InvalidSpec(f"cannot listen on {address}: {error.strerror or error}") from None
    for other in listeners[1:]:
        await other.aclose()
    return listeners[0]


@asynccontextmanager
async def _unix_listener(address: UnixAddress) -> AsyncIterator[trio.SocketListener]:
    path = Path(address.path)
    _clear_the_way(path)
    listening = _bind_unix(address)
    ours = _inode(path)
    try:
        async with trio.SocketListener(trio.socket.from_stdlib_socket(listening)) as listener:
            yield listener
    finally:
        if _inode(path) == ours:  # Not if a later daemon has taken the name over.
            _unlink(path)


def _bind_unix(address: UnixAddress) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Nobody may connect between bind and chmod, so the file is born private.
    mask = os.umask(0o177)
    try:
        listening.bind(address.path)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InvalidSpec(f"cannot listen on {address}: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    return listening


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _clear_the_way(path: Path) -> None:
    """Remove a socket that nobody serves any more; refuse anything else that is in the way."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidSpec(f"cannot listen on unix://{path}: {error.strerror or error}") from None
    if not stat.S_ISSOCK(mode):
        raise InvalidSpec(f"cannot listen on unix://{path}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass
    raise InvalidSpec(f"cannot listen on unix://{path}: another process serves it")
