"""A caller that is cancelled leaves nothing behind, wherever it happens.

That is at each step that any task of the cluster takes while the call is under way, the pass that commits it included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.errors import OutOfOrder
from raftswarm.wire.envelopes import encode_command, encode_open
from tests.consensus.conftest import Journal

Cluster = MemoryCluster[Journal]
Call = Callable[[Cluster, int], Awaitable[object]]
MOST_STEPS: Final = 500


@attrs.define(eq=False)
class CancelAfter(trio.abc.Instrument):
    """Cancels a scope when tasks have taken so many steps."""

    scope: trio.CancelScope
    steps: int

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        if self.steps == 0:
            self.scope.cancel()
        self.steps -= 1


async def cancelled_after(steps: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Make a call, and cancel it after so many steps; tell whether that came before its end."""
    with trio.CancelScope() as scope:
        instrument = CancelAfter(scope, steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def propose(cluster: Cluster, number: int) -> None:
    await (await cluster.leader()).propose(b"%d" % number)


async def propose_many(cluster: Cluster, number: int) -> None:
    await (await cluster.leader()).propose_many([b"%d" % number, b"refuse", b"%d'" % number])


async def read(cluster: Cluster, _number: int) -> None:
    for member in cluster.members.values():
        await member.read_barrier()


async def change(cluster: Cluster, number: int) -> None:
    leader = await cluster.leader()
    await (leader.demote("c") if number % 2 else leader.promote("c"))


async def transfer(cluster: Cluster, _number: int) -> None:
    await (await cluster.leader()).transfer_leadership()


@pytest.mark.parametrize("call", [propose, propose_many, read, change, transfer])
async def test_a_cancelled_call_hangs_nothing_and_leaves_nothing(call: Call, autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        for steps in range(MOST_STEPS):
            with trio.fail_after(60):
                leader = await cluster.leader()
                finished = not await cancelled_after(steps, lambda number=steps: call(cluster, number))  # type: ignore[misc]
                await settle(cluster)
            if finished and steps:
                break
        else:
            pytest.fail(f"the call has more than {MOST_STEPS} steps: look at fewer")
        assert steps > 3, "nothing was cancelled"
        assert leader is not None
        assert len(set(cluster.machine("a").lines)) == len(cluster.machine("a").lines), "applied twice"


async def settle(cluster: Cluster) -> None:
    """What was proposed later is answered, all members have it, and nobody waits for anything."""
    while True:
        leader = await cluster.leader()
        [outcome] = await leader.propose_many([b"settled %d" % (leader.applied.value + 1)])
        if isinstance(outcome, int):
            break
        await trio.sleep(0.1)
    for member in cluster.members.values():
        await member.applied.wait_until(lambda applied: applied >= leader.applied.value)
        assert member.driver.replica.waiting == 0
    assert len({tuple(cluster.machine(name).lines) for name in cluster.members}) == 1


async def test_a_command_of_a_session_takes_effect_once_wherever_its_first_try_was_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with open_cluster(Journal) as cluster:
        driver = (await cluster.leader()).driver
        session = await driver.propose(encode_open(bytes(16)))
        assert isinstance(session, int)
        number = 0
        for number in range(1, MOST_STEPS):
            envelope = encode_command(session, number, number - 1, b"%d" % number)
            finished = not await cancelled_after(number - 1, lambda envelope=envelope: driver.propose(envelope))  # type: ignore[misc]

            assert await driver.propose(envelope) == number
            if finished:
                break

        assert cluster.machine("a").lines == [b"%d" % (one + 1) for one in range(number)]
        assert number > 3, "nothing was cancelled"


async def test_a_cancelled_member_leaves_no_task_behind(autojump_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    for steps in range(0, 300, 7):

        async def run_one() -> None:
            async with open_cluster(Journal) as cluster:
                await (await cluster.leader()).propose(b"x")

        await cancelled_after(steps, run_one)
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_after_a_cancelled_command_of_a_session_a_later_one_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_cluster(Journal) as cluster:
        driver = (await cluster.leader()).driver
        session = await driver.propose(encode_open(bytes(16)))
        assert isinstance(session, int)
        with trio.CancelScope() as scope:
            scope.cancel()
            await driver.propose(encode_command(session, 1, 0, b"first"))

        [second] = await driver.propose_many([encode_command(session, 2, 0, b"second")])
        assert second == 2 or isinstance(second, OutOfOrder)
        await driver.propose(encode_command(session, 1, 0, b"first"))
        await driver.propose(encode_command(session, 2, 0, b"second"))

        assert cluster.machine("a").lines == [b"first", b"second"]
