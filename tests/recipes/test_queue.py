"""A replicated queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from raftswarm.errors import InvalidSpec
from raftswarm.recipes import ReplicatedQueue

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.recipes.conftest import LoneCluster


@pytest.fixture
def jobs(cluster: LoneCluster) -> ReplicatedQueue:
    return ReplicatedQueue(cluster, "jobs")


async def test_first_in_first_out(jobs: ReplicatedQueue) -> None:
    for number in range(10):
        await jobs.put(number)

    assert await jobs.size() == 10
    assert [await jobs.take() for _ in range(11)] == [*range(10), None]
    assert await jobs.size() == 0


async def test_an_element_goes_to_one_taker(jobs: ReplicatedQueue) -> None:
    for number in range(20):
        await jobs.put(number)
    taken: list[object] = []

    async def take_all() -> None:
        while (value := await jobs.take()) is not None:
            taken.append(value)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(take_all)

    assert sorted(taken, key=str) == sorted(range(20), key=str)


async def test_a_claim_that_is_finished_is_gone(jobs: ReplicatedQueue, autojump_clock: MockClock) -> None:
    await jobs.put("a")
    claim = await jobs.claim(ttl_seconds=5)
    assert claim is not None
    assert claim.value == "a"
    assert await jobs.claim(ttl_seconds=5) is None

    assert await jobs.finish(claim)
    await trio.sleep(6)

    assert await jobs.take() is None
    assert not await jobs.finish(claim)


async def test_a_claim_that_is_not_finished_goes_back_to_its_place(
    cluster: LoneCluster, jobs: ReplicatedQueue, autojump_clock: MockClock
) -> None:
    for value in "abc":
        await jobs.put(value)
    late, later = await jobs.claim(ttl_seconds=5), await jobs.claim(ttl_seconds=4)
    assert late is not None
    assert later is not None
    cluster.restart()
    await trio.sleep(6)
    await jobs.put("d")

    assert await jobs.size() == 4
    again = await jobs.claim(ttl_seconds=5)
    assert again is not None
    assert again.value == "a"
    assert again.receipt > later.receipt > late.receipt
    assert not await jobs.finish(late), "somebody else may have it"
    assert [await jobs.take() for _ in range(4)] == ["b", "c", "d", None]


async def test_claims_that_end_one_after_another_go_back_each_to_its_place(
    jobs: ReplicatedQueue, autojump_clock: MockClock
) -> None:
    for value in "abc":
        await jobs.put(value)
    await jobs.claim(ttl_seconds=4)
    await jobs.claim(ttl_seconds=8)
    await trio.sleep(5)
    await jobs.put("d")
    await trio.sleep(5)

    assert [await jobs.take() for _ in range(4)] == ["a", "b", "c", "d"]


async def test_a_question_sees_claims_expire_with_the_next_command(
    jobs: ReplicatedQueue, autojump_clock: MockClock
) -> None:
    await jobs.put("a")
    await jobs.claim(ttl_seconds=5)
    await trio.sleep(6)

    assert await jobs.size() == 0
    await jobs.put("b")
    assert await jobs.size() == 2


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("inf"), float("nan")])
async def test_a_claim_is_for_some_time(jobs: ReplicatedQueue, ttl: float) -> None:
    with pytest.raises(InvalidSpec, match="a lease of"):
        await jobs.claim(ttl_seconds=ttl)
