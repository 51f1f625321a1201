"""What users of a driver get to see: reads on any member (6.4), transfers and clean stops (3.10), in virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.errors import NotLeader, TransferFailed
from raftswarm.lab.journal import Journal


async def leader_of(cluster: MemoryCluster[Journal]) -> Driver:
    leader = (await cluster.leader()).driver
    for member in cluster.members.values():
        await member.driver.leadership.wait_until(lambda now: now.leader == leader.member_id)
    return leader


def followers_of(cluster: MemoryCluster[Journal], leader: Driver) -> list[Driver]:
    return [member.driver for member in cluster.members.values() if member.driver is not leader]


async def test_every_member_gives_linearizable_reads(autojump_clock: trio.testing.MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        await leader_of(cluster)
        await (await cluster.leader()).propose(b"one")

        for name, member in cluster.members.items():
            await member.driver.read_barrier()
            assert b"one" in cluster.machine(name).last


async def test_a_read_without_a_quorum_is_refused_after_three_election_timeouts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await leader_of(cluster)
        (alone, _) = followers_of(cluster, leader)
        names = [name for name, member in cluster.members.items() if member.driver is not alone]
        for name in names:
            await cluster.kill(name)
        start = trio.current_time()

        with pytest.raises(NotLeader, match="no leader could answer"):
            await alone.read_barrier()

        assert trio.current_time() - start == pytest.approx(3.0, abs=0.1)


async def test_a_transfer_returns_when_the_heir_leads(autojump_clock: trio.testing.MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await leader_of(cluster)
        heir = followers_of(cluster, leader)[0]

        await leader.transfer_leadership(heir.member_id)

        assert leader.replica.member.leader == heir.member_id


async def test_a_transfer_that_cannot_be_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await leader_of(cluster)
        follower = followers_of(cluster, leader)[0]

        with pytest.raises(TransferFailed, match="does not lead") as failed:
            await follower.transfer_leadership()
        assert failed.value.leader == leader.member_id
        with pytest.raises(TransferFailed, match="is not another voter"):
            await leader.transfer_leadership(12345)


@pytest.mark.parametrize("members", [1, 3])
async def test_a_clean_stop_hands_over_if_there_is_somebody(
    autojump_clock: trio.testing.MockClock, members: int
) -> None:
    async with open_cluster(Journal, members=members) as cluster:
        leader = await leader_of(cluster)

        await leader.hand_over()

        assert (leader.replica.member.leader == leader.member_id) == (members == 1)
