"""A cluster in memory: what a program's own tests build on, and sessions, snapshots and clocks over a whole cluster."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import MockClock

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec, MachineFailed, OutcomeUnknown, Regressed, ResultLost, SessionExpired
from raftswarm.wire.envelopes import encode_command, encode_open
from raftswarm.world.clock import LoopWallClock
from tests.consensus.conftest import Journal

Cluster = MemoryCluster[Journal]
HOUR_NS = 3600 * 10**9


async def fail_over(cluster: Cluster) -> Driver:
    """Kill the leader and start it again; return the driver of its successor."""
    old = (await cluster.leader()).name
    await cluster.kill(old)
    successor = await cluster.leader()
    await cluster.start(old)
    return successor.driver


async def open_session(cluster: Cluster) -> int:
    session = await (await cluster.leader()).driver.propose(encode_open(bytes(16)))
    assert isinstance(session, int)
    return session


async def test_it_takes_no_thread_and_no_time_of_ours(autojump_clock: MockClock) -> None:
    threads = threading.active_count()

    async with open_cluster(Journal, members=5) as cluster:
        assert await (await cluster.leader()).propose(b"x") == 1
        assert threading.active_count() == threads

    assert 0 < trio.current_time() < 5


async def test_members_have_the_names_they_are_given(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal, members=["amsterdam", "berlin"]) as cluster:
        assert list(cluster.members) == ["amsterdam", "berlin"]
        with pytest.raises(InvalidSpec, match="berlin runs already"):
            await cluster.start("berlin")


async def test_the_same_seed_draws_the_same_elections() -> None:
    times = []
    for seed in (1, 1, 2):
        clock = MockClock(autojump_threshold=0)

        async def elect(seed: int = seed) -> None:
            async with open_cluster(Journal, seed=seed) as cluster:
                await cluster.leader()
                times.append(trio.current_time())

        await trio.to_thread.run_sync(lambda clock=clock, elect=elect: trio.run(elect, clock=clock))  # type: ignore[misc]

    assert times[0] == pytest.approx(times[1], abs=0.01)
    assert times[0] != pytest.approx(times[2], abs=0.01)


async def test_a_killed_member_goes_on_from_its_disk(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        await (await cluster.leader()).propose(b"x")
        for name in list(cluster.members):
            await cluster.kill(name)
        assert cluster.members == {}
        for name in "abc":
            await cluster.start(name)

        assert await (await cluster.leader()).query(b"") == [b"x"]


async def test_a_member_that_fails_ends_the_block_with_its_reason(autojump_clock: MockClock) -> None:
    async def fail() -> None:
        async with open_cluster(Journal) as cluster:
            with pytest.raises(OutcomeUnknown):
                await (await cluster.leader()).propose(b"fail")
            await trio.sleep_forever()

    with pytest.raises(MachineFailed, match="at command 1"):
        await fail()


async def test_a_member_whose_disk_was_wiped_says_so(autojump_clock: MockClock) -> None:
    async def wipe() -> None:
        async with open_cluster(Journal) as cluster:
            leader = await cluster.leader()
            await leader.propose(b"x")
            follower = next(name for name in cluster.members if name != leader.name)
            await cluster.kill(follower)
            cluster.wipe(follower)
            await cluster.start(follower)
            await trio.sleep_forever()

    with pytest.raises(Regressed, match="disk was set back or wiped"):
        await wipe()


# Sessions over a whole cluster (dissertation 6.3).


async def test_a_session_survives_failovers_restarts_and_snapshots(autojump_clock: MockClock) -> None:
    every_few = CompactionPolicy(snapshot_every_commands=3, keep_entries=1)
    async with open_cluster(Journal, compaction=every_few) as cluster:
        session = await open_session(cluster)
        for number in range(1, 11):
            envelope = encode_command(session, number, max(0, number - 3), b"%d" % number)
            assert await (await cluster.leader()).driver.propose(envelope) == number
            driver = await fail_over(cluster)
            assert await driver.propose(envelope) == number

        leader = await cluster.leader()
        assert await leader.query(b"") == [b"%d" % number for number in range(1, 11)]
        for name, member in cluster.members.items():
            await member.applied.wait_until(lambda applied: applied >= leader.applied.value)
            assert cluster.machine(name).lines == cluster.machine(leader.name).lines


async def test_a_result_that_cannot_travel_stops_nobody(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        session = await open_session(cluster)
        driver = (await cluster.leader()).driver

        for _ in range(2):
            with pytest.raises(ResultLost, match="applied, but its result is lost: a set"):
                await driver.propose(encode_command(session, 1, 0, b"a set"))
        assert await driver.propose(encode_command(session, 2, 0, b"x")) == 2


async def test_clocks_that_step_by_hours_lose_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset_ns = 0
    true_time = LoopWallClock.now_ns
    monkeypatch.setattr(LoopWallClock, "now_ns", lambda clock: true_time(clock) + offset_ns)
    async with open_cluster(Journal) as cluster:
        session = await open_session(cluster)
        driver = (await cluster.leader()).driver
        assert await driver.propose(encode_command(session, 1, 0, b"x")) == 1

        offset_ns = -5 * HOUR_NS
        assert await driver.propose(encode_command(session, 1, 0, b"x")) == 1
        driver = await fail_over(cluster)
        assert await driver.propose(encode_command(session, 2, 1, b"y")) == 2

        offset_ns = 5 * HOUR_NS
        with pytest.raises(SessionExpired, match="open another one"):
            await driver.propose(encode_command(session, 2, 1, b"y"))
        assert await (await cluster.leader()).query(b"") == [b"x", b"y"]
