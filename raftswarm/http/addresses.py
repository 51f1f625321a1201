"""Where an API is: ``unix:///path``, ``tcp://host:port``, or a bare path."""

from __future__ import annotations

from typing import Final

import attrs

from raftswarm.errors import InvalidSpec

UNIX_PATH_LIMIT: Final = 107
"""Bytes that fit into ``sockaddr_un`` with its closing zero."""
DEFAULT_PORT: Final = 2375
DEFAULT_TLS_PORT: Final = 2376


@attrs.frozen
class UnixAddress:
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        """Return the form users type."""
        return f"unix://{self.path}"


@attrs.frozen
class TcpAddress:
    """A port of a host."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form users type."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(text: str, *, tls: bool = False) -> Address:
    """Read an address; `InvalidSpec` says what is wrong with it."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("unix" if text.startswith("/") else "tcp"), text
    match scheme:
        case "unix":
            return _parse_unix(rest)
        case "tcp" | "http" | "https":
            return _parse_tcp(rest.rstrip("/"), text, tls=tls or scheme == "https")
        case _:
            raise InvalidSpec(f"cannot talk to {text}: use unix:///path/to/socket or tcp://host:port")


def _parse_unix(path: str) -> UnixAddress:
    if not path.startswith("/"):
        raise InvalidSpec(f"the path of a unix socket has to be absolute: {path!r}")
    if (length := len(path.encode())) > UNIX_PATH_LIMIT:
        raise InvalidSpec(
            f"the path of a unix socket may have {UNIX_PATH_LIMIT} bytes, {path} has {length}: choose a shorter one"
        )
    if "\0" in path:
        raise InvalidSpec("the path of a unix socket may not contain a zero byte")
    return UnixAddress(path)


def _parse_tcp(rest: str, text: str, *, tls: bool) -> TcpAddress:
    host, port = rest, ""
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        host, port = rest.split(":")
    if not port:
        port = str(DEFAULT_TLS_PORT if tls else DEFAULT_PORT)
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidSpec(f"cannot read the port in {text}: it has to be a number below 65536")
    return TcpAddress(host or "127.0.0.1", int(port))
