"""The driver: one task owns the replica, everybody else waits for answers; a real disk's slowness makes the batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.memory_cluster import open_cluster
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
