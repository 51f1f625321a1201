"""A replicated key-value store: run it with a, b and c in three terminals, then ask on ports 8001, 8002 or 8003."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable

import trio

import raftswarm

MEMBERS = {"a": "127.0.0.1:7011", "b": "127.0.0.1:7012", "c": "127.0.0.1:7013"}


class Store:  # What is replicated: the same commands in the same order make the same dictionary everywhere.
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def apply(self, command: bytes, context: raftswarm.Context) -> str:
        key, value = json.loads(command)
        self.values[key] = value
        return "ok"

    def query(self, question: bytes) -> str:
        return self.values.get(question.decode(), "")

    def capture(self) -> raftswarm.Captured:
        return raftswarm.Captured(json.dumps(self.values).encode())

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.values = json.loads(b"".join(chunks))


async def serve(member: raftswarm.RaftMember, stream: trio.SocketStream) -> None:
    async for data in stream:
        reply: object = "say: set KEY VALUE, or get KEY"
        try:
            match data.decode(errors="replace").split():
                case ["set", key, value]:
                    reply = await member.propose(json.dumps([key, value]).encode())
                case ["get", key]:
                    reply = await member.query(key.encode())
        except raftswarm.RaftSwarmError as error:  # Not the leader, for one: the error says who is.
            reply = error
        with contextlib.suppress(trio.BrokenResourceError):  # Whoever asked has gone.
            await stream.send_all(f"{reply}\n".encode())


async def main(name: str) -> None:
    async with raftswarm.open_member(f"key-value-store/{name}", Store(), name=name, members=MEMBERS) as member:
        await trio.serve_tcp(lambda stream: serve(member, stream), 8001 + "abc".index(name), host="127.0.0.1")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1])
