"""Two workers share a counter under a lock that a cluster of three keeps; the fencing token keeps late writers out.

The members live in this one process, to be short; the workers reach them over the network, as from anywhere else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

import raftswarm
from raftswarm.recipes import RecipeMachine, ReplicatedDict, ReplicatedLock

MEMBERS = {"a": "127.0.0.1:7031", "b": "127.0.0.1:7032", "c": "127.0.0.1:7033"}


async def serve(directory: Path, name: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with raftswarm.open_member(directory / name, RecipeMachine(), name=name, members=MEMBERS):
        task_status.started()
        await trio.sleep_forever()


async def work(name: str) -> None:
    async with raftswarm.connect(list(MEMBERS.values())) as client:
        lock, numbers = ReplicatedLock(client, "counting"), ReplicatedDict(client, "numbers")
        for _ in range(2):
            async with lock.hold(ttl_seconds=10, name=name) as token:
                before = await numbers.get("count")
                count = before + 1 if isinstance(before, int) else 1
                await numbers.set("count", count, fence=token)
                print(f"{name} holds the lock with token {token} and counts to {count}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as members:
            for name in MEMBERS:
                await members.start(serve, Path(directory), name)
            async with trio.open_nursery() as workers:
                workers.start_soon(work, "alice")
                workers.start_soon(work, "bob")
            members.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
