"""Whatever happens to links and members, a client's commands take effect once each, in order (P 8, D 6.3).

Clusters in memory on virtual time; members are killed and started again, clients lose their links, while several
clients propose. At the end the log of what was applied is compared with what each client was told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from math import inf
from random import Random

import msgspec
import pytest
import trio
from trio.testing import MockClock

from raftswarm import Captured, Client, CompactionPolicy, Context, MemoryCluster, open_cluster
from raftswarm.errors import NotLeader, OutcomeUnknown

SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "10"))
FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "0"))
CLIENTS = 3
COMMANDS = 150
HARM = 0.3
"""How often a call is struck."""
CANCELLED = 0.05
PASSES = 40
"""Of the loop, at most, between a call's beginning and the blow."""

Entry = tuple[int, int]
"""Which client's command, and which of its."""


class Journal:
    """Everything that was applied, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def apply(self, command: bytes, _context: Context) -> int:
        self.entries.append(msgspec.msgpack.decode(command, type=Entry))
        return len(self.entries)

    def query(self, _question: bytes) -> list[Entry]:
        return list(self.entries)

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.entries))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.entries = msgspec.msgpack.decode(b"".join(chunks), type=list[Entry])


def draw_groups(chance: Random) -> Iterator[list[int]]:
    """Cut the commands of a client into calls: alone, or many at a time."""
    numbers = list(range(COMMANDS))
    while numbers:
        size = chance.choice([1, 1, 5, 40])
        yield numbers[:size]
        del numbers[:size]


class Run:
    """A cluster, its clients, and what they were told."""

    def __init__(self, cluster: MemoryCluster[Journal], clients: list[Client], nursery: trio.Nursery) -> None:
        self.cluster = cluster
        self.clients = clients
        self.nursery = nursery
        self.told: dict[Entry, object] = {}
        self.is_one_away = False

    async def use(self, name: int, chance: Random) -> None:
        """Propose all of one client's commands, and strike while they are on their way."""
        for numbers in draw_groups(chance):
            await trio.sleep(chance.expovariate(10))
            if chance.random() < HARM:
                self.nursery.start_soon(self.do_harm, name, chance)
            with trio.move_on_after(0 if chance.random() < CANCELLED else inf):
                commands = [msgspec.msgpack.encode((name, number)) for number in numbers]
                results = await self.clients[name].propose_many(commands)
                self.told.update({(name, number): result for number, result in zip(numbers, results, strict=True)})

    async def do_harm(self, name: int, chance: Random) -> None:
        for _ in range(chance.randrange(PASSES)):
            await trio.lowlevel.checkpoint()  # Nothing in memory takes time, so time cannot say when.
        if self.is_one_away or chance.random() < 0.5:
            self.cluster._cable.kill(f"client-{name + 1}")
            return
        self.is_one_away = True
        leader = self.clients[name].leader.partition(":")[0]
        victim = leader if leader in self.cluster.members else chance.choice(list(self.cluster.members))
        await self.cluster.kill(victim)
        await trio.sleep(chance.uniform(0, 3))
        await self.cluster.start(victim)
        self.is_one_away = False


def check(entries: list[Entry], told: dict[Entry, object]) -> None:
    assert len(set(entries)) == len(entries), "a command took effect twice"
    places = {entry: place for place, entry in enumerate(entries, 1)}
    for entry, result in told.items():
        if isinstance(result, NotLeader):
            assert entry not in places, f"{entry} was not sent, and took effect"
        elif not isinstance(result, OutcomeUnknown):
            assert places.get(entry) == result, f"{entry} was answered {result}"
    for name in range(CLIENTS):
        numbers = [number for client, number in entries if client == name]
        assert numbers == sorted(numbers), f"commands of client {name} took effect out of order"


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
async def test_commands_take_effect_once_and_in_order(seed: int, autojump_clock: MockClock) -> None:
    compaction = CompactionPolicy(snapshot_every_commands=200, keep_entries=20)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(Journal, seed=seed, compaction=compaction))
        clients = [await stack.enter_async_context(cluster.client()) for _ in range(CLIENTS)]
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                run = Run(cluster, clients, nursery)
                for name in range(CLIENTS):
                    nursery.start_soon(run.use, name, Random(f"{seed}/{name}"))
            entries = await clients[0].query(b"all")
    assert isinstance(entries, list)
    check([(client, number) for client, number in entries], run.told)
