"""What a Raft group costs beside others: three hosts in one process, on real sockets and files.

Of all figures but the commits, less is better.

    python benchmarks/groups.py [groups …]
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

import raftswarm
from benchmarks.harness.addresses import free_addresses
from benchmarks.harness.surroundings import one_at_a_time
from raftswarm.errors import NotLeader, Overloaded

HOSTS = ("a", "b", "c")
IDLE_SECONDS = 5.0
LOAD_SECONDS = 5.0
WRITERS = 64


class Tally:
    """Counts commands."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes, context: raftswarm.Context) -> int:
        del command, context
        self.count += 1
        return self.count

    def capture(self) -> raftswarm.Captured:
        return raftswarm.Captured(b"%d" % self.count)

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.count = int(b"".join(chunks))


async def measure(group_count: int, directory: Path) -> None:
    with trio.CancelScope() as until:
        async with AsyncExitStack() as stack:
            hosts = [
                await stack.enter_async_context(raftswarm.open_host(directory / name, name=name, address=address))
                for name, address in free_addresses(HOSTS).items()
            ]
            members = {host.name: host.address for host in hosts}
            memory_before = resident_kib()
            groups = [
                [
                    await stack.enter_async_context(host.open_member(f"group-{number}", Tally(), members=members))
                    for host in hosts
                ]
                for number in range(group_count)
            ]
            for group in groups:
                await find_leader(group)
            await trio.sleep(2)
            memory = resident_kib() - memory_before
            links = count_links(members.values())
            busy_before = time.process_time()
            await trio.sleep(IDLE_SECONDS)
            idle_share = (time.process_time() - busy_before) / IDLE_SECONDS
            commits = await write(groups)
            assert commits > 0, "measured something else"
            print(
                f"groups={group_count} idle_cpu={idle_share:.1%} per_group={idle_share / group_count:.2%} "
                f"memory_per_group={memory / group_count:.0f}KiB links_per_pair={links / 3:g} commits={commits:.0f}/s",
                flush=True,
            )
            until.cancel()  # Nobody has to take over: there is nothing left to do.


async def find_leader(group: Sequence[raftswarm.RaftMember]) -> raftswarm.RaftMember:
    """Return who leads."""
    while True:
        for member in group:
            if member.leadership.value.is_leader:
                return member
        await trio.sleep(0.02)


def resident_kib() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def count_links(addresses: Iterable[str]) -> int:
    """Return how many TCP connections there are between the hosts; each has two ends in this process."""
    ends = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    ports = {f"{int(address.rpartition(':')[2]):04X}" for address in addresses}
    return sum(end[3] == "01" and end[1].rpartition(":")[2] in ports for end in ends)


async def write(groups: Sequence[Sequence[raftswarm.RaftMember]]) -> float:
    """Return commits a second of all groups together, with as many writers however many groups there are."""
    commits = 0

    async def keep_writing(group: Sequence[raftswarm.RaftMember]) -> None:
        nonlocal commits
        while True:
            try:
                await (await find_leader(group)).propose(b"x" * 100)
            except (NotLeader, Overloaded):
                await trio.sleep(0.02)
            else:
                commits += 1

    with trio.move_on_after(LOAD_SECONDS):
        async with trio.open_nursery() as nursery:
            for writer in range(max(WRITERS, len(groups))):
                nursery.start_soon(keep_writing, groups[writer % len(groups)])
    return commits / LOAD_SECONDS


def main() -> None:
    """Measure for each number of groups."""
    for group_count in map(int, sys.argv[1:] or ("1", "10", "100")):
        with one_at_a_time(), TemporaryDirectory() as directory:
            trio.run(measure, group_count, Path(directory))


if __name__ == "__main__":
    main()
