"""Leadership among programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from raftswarm.errors import LockLost
from raftswarm.recipes import LeaderLease

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.recipes.conftest import LoneCluster


async def test_one_candidate_leads_and_all_can_see_which(cluster: LoneCluster, autojump_clock: MockClock) -> None:
    alice = LeaderLease(cluster, "scheduler", candidate="alice")
    bob = LeaderLease(cluster, "scheduler", candidate="bob")
    assert await bob.leader() is None

    async with alice.lead(ttl_seconds=5) as first:
        with trio.move_on_after(20):
            async with bob.lead(ttl_seconds=5):
                pytest.fail("alice leads")
        leader = await bob.leader()
    async with bob.lead(ttl_seconds=5) as second:
        successor = await alice.leader()

    assert leader is not None
    assert successor is not None
    assert (leader.name, leader.token) == ("alice", first)
    assert (successor.name, successor.token) == ("bob", second)
    assert second > first


async def test_a_leader_that_is_cut_off_stops(cluster: LoneCluster, autojump_clock: MockClock) -> None:
    async def lead() -> None:
        async with LeaderLease(cluster, "scheduler", candidate="alice").lead(ttl_seconds=5):
            cluster.is_stalled = True
            await trio.sleep_forever()

    with pytest.raises(LockLost):
        await lead()
