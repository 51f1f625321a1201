"""One task waits for one answer; cancelling it leaves nothing behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from raftswarm.consensus.waiting import TaskWaiter
from raftswarm.errors import NotLeader


async def test_an_answer_wakes_the_task_that_waits() -> None:
    waiter = TaskWaiter()
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await waiter.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        waiter.complete("done")

    assert answers == ["done"]


async def test_an_answer_may_come_before_anybody_waits() -> None:
    waiter = TaskWaiter()

    waiter.fail(NotLeader("ask member 2", 2))

    with pytest.raises(NotLeader, match="ask member 2"):
        await waiter.wait()


async def test_an_answer_after_cancellation_is_dropped() -> None:
    waiter = TaskWaiter()
    with trio.move_on_after(0) as scope:
        await waiter.wait()

    waiter.complete("too late")

    assert scope.cancelled_caught


async def test_only_the_first_answer_counts() -> None:
    waiter = TaskWaiter()

    waiter.complete("first")
    waiter.fail(NotLeader())

    assert await waiter.wait() == "first"
