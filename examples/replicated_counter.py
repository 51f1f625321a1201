"""A counter that three members keep: run it, and run it again; it goes on where it was.

All three live in this one process, to be short; give each its own process and it works the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import trio

import raftswarm

MEMBERS = {"a": "127.0.0.1:7001", "b": "127.0.0.1:7002", "c": "127.0.0.1:7003"}


class Counter:
    """The replicated state: how much was added so far."""

    def __init__(self) -> None:
        self.total = 0

    def apply(self, command: bytes, context: raftswarm.Context) -> int:
        self.total += int(command)
        return self.total

    def capture(self) -> raftswarm.Captured:
        return raftswarm.Captured(str(self.total).encode())

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.total = int(b"".join(chunks) or b"0")


async def count(
    directory: Path, name: str, machine: Counter, *, task_status: trio.TaskStatus[raftswarm.RaftMember]
) -> None:
    async with raftswarm.open_member(directory / name, machine, name=name, members=MEMBERS) as member:
        task_status.started(member)
        await trio.sleep_forever()


async def main(directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        members = [await nursery.start(count, directory, name, Counter()) for name in MEMBERS]
        leader = members[0]
        while not leader.leadership.value.is_leader:
            known = await leader.leadership.wait_until(lambda now: bool(now.leader))
            leader = next(member for member in members if member.member_id == known.leader)
            await leader.wait_gained()
        print(f"member {leader.name} leads")
        for _ in range(3):
            print("total:", await leader.propose(b"1"))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else "counter-state"))
