"""The engine leaves no garbage behind that only a collector finds, and open members keep collections short."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from raftswarm.consensus.host import open_member
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.memory_cluster import open_cluster
from raftswarm.errors import Rejected
from raftswarm.world.garbage import THRESHOLDS
from tests.consensus.conftest import Journal, free_addresses

TIMES = 200


@contextmanager
def no_circles() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() < TIMES / 10, "each call leaves a circle of objects behind"
    finally:
        gc.enable()


async def propose(member: RaftMember) -> None:
    await member.propose(b"command")


async def propose_many(member: RaftMember) -> None:
    await member.propose_many([b"one", b"two", b"three"])


async def be_rejected(member: RaftMember) -> None:
    with pytest.raises(Rejected):
        await member.propose(b"refuse")


async def read(member: RaftMember) -> None:
    await member.read_barrier()


async def give_up(member: RaftMember) -> None:
    with trio.move_on_after(0):
        await member.propose(b"command")


@pytest.mark.parametrize("call", [propose, propose_many, be_rejected, read, give_up])
async def test_calls_leave_no_circles_behind(
    call: Callable[[RaftMember], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await cluster.leader()
        await call(leader)
        with no_circles():
            for _ in range(TIMES):
                await call(leader)


async def test_clients_leave_no_circles_behind(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster, cluster.client() as client:
        await client.propose(b"command")
        with no_circles():
            for _ in range(TIMES):
                await client.propose(b"command")


async def test_collections_are_short_while_a_member_is_open(tmp_path: Path) -> None:
    before = gc.get_threshold()

    async with open_member(tmp_path / "a", Journal(), name="a", members=free_addresses("a")):
        assert gc.get_threshold() == THRESHOLDS

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_a_program_may_keep_its_collections(tmp_path: Path) -> None:
    before = gc.get_threshold()

    async with open_member(
        tmp_path / "a", Journal(), name="a", members=free_addresses("a"), plan_collections=False
    ) as member:
        await member.wait_gained()
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() == 0
