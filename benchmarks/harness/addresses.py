"""Addresses on this machine that nobody listens on."""

from __future__ import annotations

import socket
from collections.abc import Iterable


def free_addresses(names: Iterable[str]) -> dict[str, str]:
    """Return a loopback address for each name; others could take one in the moment until it is listened on."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    addresses = {name: "{}:{}".format(*listening.getsockname()) for name, listening in sockets.items()}
    for listening in sockets.values():
        listening.close()
    return addresses
