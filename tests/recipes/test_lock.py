"""A replicated lock: one holder at a time, tokens that only rise, and a holder that knows when to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from raftswarm.errors import InvalidSpec, LockLost, NotLeader, OutcomeUnknown, Overloaded, Rejected
from raftswarm.recipes import ReplicatedDict, ReplicatedLock

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.recipes.conftest import CountingEntropy, LoneCluster


@pytest.fixture
def lock(cluster: LoneCluster, entropy: CountingEntropy) -> ReplicatedLock:
    return ReplicatedLock(cluster, "nightly", entropy=entropy)


async def test_the_lock_is_held_while_the_block_lasts(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    async with lock.hold(ttl_seconds=10, name="alice") as token:
        holder = await lock.holder()

    assert holder is not None
    assert (holder.token, holder.name) == (token, "alice")
    assert await lock.holder() is None


async def test_one_holds_it_at_a_time_and_tokens_rise(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    inside: list[int] = []
    tokens: list[int] = []

    async def work() -> None:
        async with lock.hold(ttl_seconds=10) as token:
            inside.append(token)
            await trio.sleep(1)
            assert inside == [token]
            inside.clear()
            tokens.append(token)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work)

    assert len(tokens) == 5
    assert tokens == sorted(set(tokens))


async def test_it_is_renewed_as_long_as_the_block_lasts(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    async with lock.hold(ttl_seconds=10) as token:
        await trio.sleep(100)
        holder = await lock.holder()

    assert holder is not None
    assert holder.token == token


async def test_waiting_writes_nothing_to_the_log_while_somebody_holds_it(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    token = await lock.acquire(ttl_seconds=60, owner=b"alice")
    before = cluster.commands

    with trio.move_on_after(50):
        async with lock.hold(ttl_seconds=10):
            pass

    assert token
    assert cluster.commands == before + 1


async def test_a_lock_given_back_is_had_soon(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    token = await lock.acquire(ttl_seconds=3600, owner=b"alice")
    assert token
    start = trio.current_time()

    async with trio.open_nursery() as nursery:

        async def give_back() -> None:
            await trio.sleep(5)
            await lock.release(token)

        nursery.start_soon(give_back)
        async with lock.hold(ttl_seconds=10):
            assert trio.current_time() - start < 6.1


async def test_the_lock_of_a_dead_holder_is_free_after_its_time(
    lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    dead = await lock.acquire(ttl_seconds=30, owner=b"dead")
    assert dead
    start = trio.current_time()

    async with lock.hold(ttl_seconds=10) as token:
        assert 30 <= trio.current_time() - start < 31

    assert token > dead
    assert not await lock.renew(dead, ttl_seconds=30)
    assert not await lock.release(dead)


async def test_a_holder_that_cannot_renew_stops_before_others_may_start(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    start = trio.current_time()

    async def work() -> None:
        async with lock.hold(ttl_seconds=10):
            cluster.is_stalled = True
            await trio.sleep_forever()

    with pytest.raises(LockLost, match="'nightly' was lost while token 1 held it"):
        await work()
    assert trio.current_time() - start == pytest.approx(9)


async def test_a_holder_learns_that_the_lock_was_taken_over(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    """As after the clocks of the cluster's machines jumped."""
    tokens: list[int | None] = []

    async def work() -> None:
        async with lock.hold(ttl_seconds=10) as token:
            await lock.release(token)
            tokens.append(await lock.acquire(ttl_seconds=10, owner=b"other"))
            await trio.sleep_forever()

    with pytest.raises(LockLost):
        await work()
    holder = await lock.holder()
    assert holder is not None
    assert [holder.token] == tokens, "the loser gave back nothing that is not its own"


async def test_a_renewal_that_fails_is_tried_again_in_time(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    async with lock.hold(ttl_seconds=10):
        cluster.refusals = [NotLeader(), Overloaded(), OutcomeUnknown(), NotLeader()]
        await trio.sleep(30)

    assert not cluster.refusals


async def test_what_a_late_holder_still_does_is_fenced_off(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    report = ReplicatedDict(cluster, "report")
    slow = await lock.acquire(ttl_seconds=5, owner=b"slow")
    assert slow
    await report.set("pages", 1, fence=slow)
    await trio.sleep(6)  # A pause of the whole process: no clock of its own can warn it.

    async with lock.hold(ttl_seconds=5) as token:
        await report.set("pages", 2, fence=token)
        with pytest.raises(Rejected, match="superseded"):
            await report.set("pages", 1, fence=slow)

    assert await report.get("pages") == 2


@pytest.mark.parametrize("lost", [1, 3])
async def test_an_answer_that_was_lost_costs_no_time_to_live(
    cluster: LoneCluster, lock: ReplicatedLock, lost: int, autojump_clock: MockClock
) -> None:
    """Whoever asks again is known as the same owner, so it does not wait for itself."""
    cluster.answers_to_lose = lost
    start = trio.current_time()

    async with lock.hold(ttl_seconds=60) as token:
        assert token == 1
        assert trio.current_time() - start < 1


async def test_an_owner_that_lost_the_lock_gets_another_token(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    first = await lock.acquire(ttl_seconds=5, owner=b"alice")
    again = await lock.acquire(ttl_seconds=5, owner=b"alice")
    await trio.sleep(6)
    late = await lock.acquire(ttl_seconds=5, owner=b"alice")

    assert first == again
    assert late is not None
    assert first is not None
    assert late > first


async def test_an_expired_lock_is_not_renewed_even_if_nobody_wanted_it(
    lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    token = await lock.acquire(ttl_seconds=5, owner=b"alice")
    assert token
    await trio.sleep(5)

    assert not await lock.renew(token, ttl_seconds=5)


async def test_a_question_shows_the_time_of_the_last_command(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    await lock.acquire(ttl_seconds=5, owner=b"alice", name="alice")
    await trio.sleep(6)

    shown = await lock.holder()
    assert shown is not None
    assert shown.seconds_left == 5
    await ReplicatedDict(cluster, "other").set("k", 1)
    assert await lock.holder() is None


async def test_an_error_of_the_block_comes_out_as_it_is_and_frees_the_lock(
    lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with lock.hold(ttl_seconds=10):
            raise KeyError("mine")

    assert await lock.holder() is None


async def test_a_cancelled_block_frees_the_lock(lock: ReplicatedLock, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with lock.hold(ttl_seconds=10):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert await lock.holder() is None


async def test_a_block_ends_soon_also_when_the_cluster_does_not_answer(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    async with lock.hold(ttl_seconds=600):
        cluster.is_stalled = True
        start = trio.current_time()

    assert trio.current_time() - start <= 1.1


async def test_a_lock_survives_a_snapshot(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    token = await lock.acquire(ttl_seconds=5, owner=b"alice")
    assert token
    cluster.restart()

    assert await lock.acquire(ttl_seconds=5, owner=b"bob") is None
    assert await lock.renew(token, ttl_seconds=5)


async def test_a_member_that_does_not_lead_says_so(
    cluster: LoneCluster, lock: ReplicatedLock, autojump_clock: MockClock
) -> None:
    cluster.refusals = [NotLeader(leader=2)]

    with pytest.raises(NotLeader):
        async with lock.hold():
            pytest.fail("nobody holds it")


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_lock_is_held_for_some_time(lock: ReplicatedLock, ttl: float, autojump_clock: MockClock) -> None:
    with pytest.raises(InvalidSpec, match="a lease of"):
        async with lock.hold(ttl_seconds=ttl):
            pytest.fail("nobody holds it")
