"""Clusters in memory, and what is replicated on them."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import msgspec

from raftswarm.errors import Rejected
from raftswarm.raft.state_machine import Captured, Context


class Journal:
    """The state is all commands so far; some have a meaning."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def apply(self, command: bytes, _context: Context) -> object:
        if command == b"refuse":
            raise Rejected("as it was told to")
        if command == b"fail":
            raise ZeroDivisionError("as it was told to")
        self.lines.append(command)
        return {1} if command == b"a set" else len(self.lines)

    def query(self, question: bytes) -> object:
        if question == b"refuse":
            raise Rejected("as it was told to")
        return list(self.lines)

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.lines))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.lines = msgspec.msgpack.decode(b"".join(chunks), type=list[bytes])


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def free_addresses(names: str) -> dict[str, str]:
    return {name: free_address() for name in names}
