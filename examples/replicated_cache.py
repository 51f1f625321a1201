"""A web cache in asyncio: PUT and GET over HTTP, each value on three members. It asks itself once, and ends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from urllib.request import Request, urlopen

import msgspec

import raftswarm
from raftswarm import aio

MEMBERS = {"a": "127.0.0.1:7041", "b": "127.0.0.1:7042", "c": "127.0.0.1:7043"}


class Cache:
    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def apply(self, command: bytes, context: raftswarm.Context) -> None:
        path, value = msgspec.msgpack.decode(command, type=tuple[str, bytes])
        self.values[path] = value

    def query(self, question: bytes) -> bytes | None:
        return self.values.get(question.decode())

    def capture(self) -> raftswarm.Captured:
        return raftswarm.Captured(msgspec.msgpack.encode(self.values))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.values = msgspec.msgpack.decode(b"".join(chunks), type=dict[str, bytes])


async def answer(client: aio.AioClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    method, path, _ = head.split(maxsplit=2)
    value: object = b""
    if method == "put":
        length = int(head.partition("content-length:")[2].split()[0])
        await client.propose(msgspec.msgpack.encode((path, await reader.readexactly(length))))
    else:
        value = await client.query(path.encode())
    status, body = ("200 OK", value) if isinstance(value, bytes) else ("404 Not Found", b"")
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


def ask(method: str, path: str, body: bytes | None = None) -> str:
    with urlopen(Request(f"http://127.0.0.1:7040{path}", body, method=method), timeout=10) as response:
        return f"{method} {path}: {response.status} {response.read().decode()}"


async def main() -> None:
    async with AsyncExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory())
        for name in MEMBERS:
            await stack.enter_async_context(aio.open_member(f"{place}/{name}", Cache(), name=name, members=MEMBERS))
        client = await stack.enter_async_context(aio.connect(list(MEMBERS.values())))
        server = await asyncio.start_server(lambda reader, writer: answer(client, reader, writer), "127.0.0.1", 7040)
        await stack.enter_async_context(server)
        print(await asyncio.to_thread(ask, "PUT", "/colour", b"blue"))
        print(await asyncio.to_thread(ask, "GET", "/colour"))


if __name__ == "__main__":
    asyncio.run(main())
