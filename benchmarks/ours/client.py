"""A client of the cluster in a process of its own: one `raftswarm.connect`, shared by as many tasks as are asked for.

Its sessions are on, as they are by default: each command takes effect once, whatever happens to links and leaders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import trio

import raftswarm
from benchmarks.harness.credentials import read_credentials
from benchmarks.harness.load import Load, Order, make_commands
from benchmarks.harness.serving import answer, requests


@attrs.frozen(kw_only=True)
class ClientSettings:
    """What a client's process is told, as JSON on its command line."""

    name: str
    directory: str
    addresses: list[str]
    command_bytes: int
    keys: int


async def main(settings: ClientSettings) -> None:
    """Serve the parent's requests until it ends."""
    commands = make_commands(settings.keys, settings.command_bytes)
    credentials = read_credentials(Path(settings.directory), settings.name)
    async with raftswarm.connect(settings.addresses, credentials=credentials) as client:
        async for request in requests():
            match request["ask"]:
                case "load":
                    answer(await Load(client, commands, Order(**request["order"])).run())
                case "fill":
                    answer(await fill(client, commands, request["count"]))
                case other:
                    raise ValueError(f"no such request: {other}")


async def fill(client: raftswarm.Client, commands: list[bytes], count: int) -> dict[str, int]:
    """Commit that many commands, key after key."""
    acknowledged = 0
    while acknowledged < count:
        start = acknowledged % len(commands)
        batch = commands[start : start + min(1000, count - acknowledged)]
        results = await client.propose_many(batch)
        failed = [result for result in results if isinstance(result, Exception)]
        assert not failed, failed[0]
        acknowledged += len(batch)
    return {"acknowledged": acknowledged}


if __name__ == "__main__":
    trio.run(main, ClientSettings(**json.loads(sys.argv[1])))
