"""The driver: one task owns the replica, everybody else waits for answers; a real disk's slowness makes the batches.

Reads on any member are D 6.4, transfers D 3.10.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.errors import NotLeader, OutcomeUnknown, PayloadTooLarge, Rejected, TransferFailed
from raftswarm.raft.log_entry import EntryKind
from raftswarm.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import MAX_PAYLOAD_BYTES, encode_plain
from raftswarm.world.inline_runner import InlineDiskRunner
from tests.consensus.conftest import Journal


def batches(driver: Driver) -> list[int]:
    """How many commands each entry of the log has."""
    member = driver.replica.member
    entries = member.entries(1, member.last_index)
    return [entry.command_count for entry in entries if entry.kind is EntryKind.COMMANDS]


async def test_what_comes_while_an_entry_is_made_up_travels_with_the_next(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await cluster.leader()
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(leader.propose, b"%d" % number)

        # Those that ran before the driver in that pass of the loop, and those that ran after it.
        assert sum(batches(leader.driver)) == 50
        assert len(batches(leader.driver)) <= 2


async def test_an_entry_ends_where_its_limits_are(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        driver = (await cluster.leader()).driver
        await driver.propose_many([encode_plain(b"")] * (MAX_BATCH_COMMANDS + 1))
        half = encode_plain(bytes(MAX_BATCH_BYTES // 2))
        await driver.propose_many([half, half, encode_plain(bytes(MAX_PAYLOAD_BYTES)), half])

        assert batches(driver) == [MAX_BATCH_COMMANDS, 1, 1, 1, 1, 1]


async def test_a_command_that_fits_no_entry_is_refused_where_it_stands(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        driver = (await cluster.leader()).driver

        outcomes = await driver.propose_many(
            [encode_plain(b"x"), bytes(MAX_COMMAND_BYTES + 1), encode_plain(b"refuse")]
        )

        assert [type(outcome) for outcome in outcomes] == [int, PayloadTooLarge, Rejected]


async def test_a_member_that_stops_tells_whoever_waits_what_is_known(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await cluster.leader()
        for name in [name for name in cluster.members if name != leader.name]:
            await cluster.kill(name)
        errors: list[Exception] = []

        async def call(what: Callable[[], Awaitable[object]]) -> None:
            try:
                await what()
            except (OutcomeUnknown, NotLeader, TransferFailed) as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, lambda: leader.propose(b"x"))
            nursery.start_soon(call, leader.read_barrier)
            nursery.start_soon(call, lambda: leader.remove_member("b"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(call, leader.transfer_leadership)
            await trio.testing.wait_all_tasks_blocked()
            await cluster.kill(leader.name)

        names = sorted(type(error).__name__ for error in errors)
        assert names == ["NotLeader", "OutcomeUnknown", "OutcomeUnknown", "TransferFailed"]
        assert leader.driver.replica.waiting == 0


async def test_commands_gather_while_the_disk_is_busy(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[Callable[[], object], Callable[[BaseException | None], None]]] = []
    async with open_cluster(Journal, members=1) as cluster:
        leader = await cluster.leader()
        submit = InlineDiskRunner().submit
        monkeypatch.setattr(InlineDiskRunner, "submit", lambda _self, job, done: held.append((job, done)))
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(leader.propose, b"%d" % number)
                await trio.testing.wait_all_tasks_blocked()
            monkeypatch.undo()
            while held:
                submit(*held.pop(0))
                await trio.testing.wait_all_tasks_blocked()

        assert batches(leader.driver) == [1, 1, 18]
        assert cluster.machine("a").lines == [b"%d" % number for number in range(20)]


async def test_who_leads_is_told_only_when_all_before_its_term_is_applied(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await cluster.leader()
        await leader.propose_many([b"x"] * 100)
        await cluster.kill(leader.name)

        successor = await cluster.leader()

        assert len(cluster.machine(successor.name).lines) == 100


# Reads and transfers.


async def leader_of(cluster: MemoryCluster[Journal]) -> Driver:
    leader = (await cluster.leader()).driver
    for member in cluster.members.values():
        await member.driver.leadership.wait_until(lambda now: now.leader == leader.member_id)
    return leader


def followers_of(cluster: MemoryCluster[Journal], leader: Driver) -> list[Driver]:
    return [member.driver for member in cluster.members.values() if member.driver is not leader]


async def test_every_member_gives_linearizable_reads(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        await leader_of(cluster)
        await (await cluster.leader()).propose(b"one")

        for name, member in cluster.members.items():
            await member.driver.read_barrier()
            assert cluster.machine(name).lines == [b"one"]


async def test_a_read_without_a_quorum_is_refused_after_three_election_timeouts(
    autojump_clock: MockClock,
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


async def test_a_transfer_returns_when_the_heir_leads(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await leader_of(cluster)
        heir = followers_of(cluster, leader)[0]

        await leader.transfer_leadership(heir.member_id)

        assert leader.replica.member.leader == heir.member_id


async def test_a_transfer_that_cannot_be_says_why(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        leader = await leader_of(cluster)
        follower = followers_of(cluster, leader)[0]

        with pytest.raises(TransferFailed, match="does not lead") as failed:
            await follower.transfer_leadership()
        assert failed.value.leader == leader.member_id
        with pytest.raises(TransferFailed, match="is not another voter"):
            await leader.transfer_leadership(12345)


@pytest.mark.parametrize("members", [1, 3])
async def test_a_clean_stop_hands_over_if_there_is_somebody(autojump_clock: MockClock, members: int) -> None:
    async with open_cluster(Journal, members=members) as cluster:
        leader = await leader_of(cluster)

        await leader.hand_over()

        assert (leader.replica.member.leader == leader.member_id) == (members == 1)
