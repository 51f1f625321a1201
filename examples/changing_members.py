"""Members come and go while the cluster works: three found it, a fourth joins, and the one that led leaves for good.

All live in this one process, to be short; give each its own process and it works the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import trio

import raftswarm

ADDRESSES = {name: f"127.0.0.1:702{number}" for number, name in enumerate("abcd", 1)}
FOUNDERS = {name: ADDRESSES[name] for name in "abc"}


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


async def run(directory: Path, name: str, *, task_status: trio.TaskStatus[raftswarm.RaftMember]) -> None:
    founders, address = (FOUNDERS, None) if name in FOUNDERS else (None, ADDRESSES[name])
    place = directory / name
    async with raftswarm.open_member(place, Counter(), name=name, members=founders, address=address) as member:
        task_status.started(member)
        await trio.sleep_forever()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            members = {name: await nursery.start(run, Path(directory), name) for name in FOUNDERS}
            async with raftswarm.connect(list(FOUNDERS.values())) as client:
                print("total:", await client.propose(b"1"))
                leader = next(member for member in members.values() if member.leadership.value.is_leader)

                newcomer = await nursery.start(run, Path(directory), "d")
                await leader.add_member("d", ADDRESSES["d"])
                await newcomer.configuration.wait_until(lambda now: len(now.voters) == 4)
                print("d has joined:", len(leader.configuration.value.voters), "vote")

                await leader.transfer_leadership(to="d")
                await newcomer.wait_gained()
                await newcomer.remove_member(leader.name)
                print("the first leader has left:", len(newcomer.configuration.value.voters), "vote, d leads")
                print("total:", await client.propose(b"1"))
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
