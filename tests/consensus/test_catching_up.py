"""A follower that was away gets a snapshot over links, beside everything else (section 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
import trio
from trio.testing import MockClock

from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.raft.state_machine import Context

SLOW = 20_000.0
"""Bytes a second: the state of about 200,000 bytes takes ten seconds."""


@attrs.frozen
class Picture:
    commands: list[bytes]

    def chunks(self) -> Iterator[bytes]:
        yield from self.commands


class Kept:
    """Everything that was ever said."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.restored: list[str] = []

    def apply(self, command: bytes, context: Context) -> int:
        del context
        self.commands.append(command)
        return len(self.commands)

    def capture(self) -> Picture:
        return Picture(list(self.commands))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.restored.append("at once")
        self.commands = list(chunks)


class KeptAside(Kept):
    """The same, built beside the present state."""

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        commands = list(chunks)

        def put_in_place() -> None:
            self.restored.append("aside")
            self.commands = commands

        return put_in_place


def policy(bytes_per_second: float = 1e9) -> CompactionPolicy:
    return CompactionPolicy(snapshot_every_commands=50, keep_entries=0, send_bytes_per_second=bytes_per_second)


async def leave_behind(cluster: MemoryCluster[Kept]) -> str:
    """Let a follower miss so much that only a snapshot helps; return its name, running again."""
    leader = await cluster.leader()
    name = next(name for name, member in cluster.members.items() if member is not leader)
    await cluster.kill(name)
    await trio.sleep(5)
    for number in range(200):
        await leader.propose(b"%d " % number + bytes(1000))
    await trio.sleep(1)
    await cluster.start(name)
    return name


async def agree(cluster: MemoryCluster[Kept]) -> None:
    with trio.fail_after(60):
        while True:
            states = [cluster.machine(name).commands for name in cluster.members]
            if all(state == states[0] for state in states):
                return
            await trio.sleep(0.1)


async def test_a_follower_that_was_away_gets_a_snapshot(autojump_clock: MockClock) -> None:
    async with open_cluster(Kept, compaction=policy()) as cluster:
        name = await leave_behind(cluster)

        await agree(cluster)

        assert cluster.machine(name).restored == ["at once"]
        assert len(cluster.machine(name).commands) == 200


async def test_a_large_state_is_built_beside_the_present_one(autojump_clock: MockClock) -> None:
    async with open_cluster(KeptAside, compaction=policy()) as cluster:
        name = await leave_behind(cluster)  # type: ignore[arg-type] # A cluster of something narrower.

        await agree(cluster)  # type: ignore[arg-type] # Likewise.

        assert cluster.machine(name).restored == ["aside"]


async def test_a_slow_transfer_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with open_cluster(Kept, compaction=policy(SLOW)) as cluster:
        leader = await cluster.leader()
        term = leader.leadership.value.term
        name = await leave_behind(cluster)
        began = trio.current_time()

        for number in range(100):
            before = trio.current_time()
            await leader.propose(b"meanwhile %d" % number)
            assert trio.current_time() - before < 0.1
            await trio.sleep(0.05)
        assert cluster.machine(name).restored == []
        await agree(cluster)

        assert 8 < trio.current_time() - began < 15
        assert cluster.machine(name).restored == ["at once"]
        assert leader.leadership.value.term == term


async def test_a_follower_that_dies_while_it_is_sent_a_snapshot_gets_it_in_its_next_life(
    autojump_clock: MockClock,
) -> None:
    async with open_cluster(Kept, compaction=policy(SLOW)) as cluster:
        name = await leave_behind(cluster)
        await trio.sleep(5)
        await cluster.kill(name)
        await trio.sleep(1)

        await cluster.start(name)
        await agree(cluster)

        assert cluster.machine(name).restored == ["at once"]


async def test_a_member_that_starts_with_a_large_state_builds_it_aside_too(autojump_clock: MockClock) -> None:
    async with open_cluster(KeptAside, compaction=policy()) as cluster:
        leader = await cluster.leader()
        for number in range(60):
            await leader.propose(b"%d" % number)
        await trio.sleep(1)
        name = next(name for name, member in cluster.members.items() if member is not leader)
        await cluster.kill(name)

        await cluster.start(name)

        assert cluster.machine(name).restored == ["aside"]
        assert 50 <= len(cluster.machine(name).commands) <= 60
        await agree(cluster)  # type: ignore[arg-type] # A cluster of something narrower.
