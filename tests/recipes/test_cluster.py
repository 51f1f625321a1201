"""Recipes in a whole cluster, through its members."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from raftswarm.consensus.memory_cluster import open_cluster
from raftswarm.errors import LockLost
from raftswarm.recipes import LeaderLease, RecipeMachine, ReplicatedDict, ReplicatedLock

if TYPE_CHECKING:
    from trio.testing import MockClock

    from raftswarm.consensus.member import RaftMember


async def test_every_member_shows_what_one_has_written(autojump_clock: MockClock) -> None:
    async with open_cluster(RecipeMachine) as cluster:
        await ReplicatedDict(await cluster.leader(), "votes").set("alice", [3])

        for member in cluster.members.values():
            assert await ReplicatedDict(member, "votes").items() == {"alice": [3]}


async def test_a_lock_outlives_the_leader_and_is_lost_only_in_time(autojump_clock: MockClock) -> None:
    async with open_cluster(RecipeMachine) as cluster:
        leader = await cluster.leader()
        first = await ReplicatedLock(leader, "nightly").acquire(ttl_seconds=30, owner=b"alice", name="alice")
        assert first is not None
        acquired_at = trio.current_time()
        await cluster.kill(leader.name)

        successor = await cluster.leader()
        holder = await ReplicatedLock(successor, "nightly").holder()
        assert holder is not None
        assert holder.name == "alice"
        async with ReplicatedLock(successor, "nightly").hold(ttl_seconds=10) as second:
            assert second > first
            assert trio.current_time() - acquired_at > 29


async def test_a_candidate_whose_member_is_gone_stops_before_another_leads(autojump_clock: MockClock) -> None:
    """Its own clock tells it: nobody else can reach it."""
    events: list[str] = []

    async def lead(member: RaftMember, candidate: str) -> None:
        with suppress(LockLost):
            async with LeaderLease(member, "scheduler", candidate=candidate).lead(ttl_seconds=5):
                events.append(f"{candidate} leads")
                await trio.sleep(60)
        events.append(f"{candidate} stops")

    async with open_cluster(RecipeMachine) as cluster, trio.open_nursery() as nursery:
        leader = await cluster.leader()
        nursery.start_soon(lead, leader, "alice")
        await trio.sleep(1)
        await cluster.kill(leader.name)
        nursery.start_soon(lead, await cluster.leader(), "bob")

    assert events == ["alice leads", "alice stops", "bob leads", "bob stops"]
