"""One task waits for one answer; cancelling it leaves nothing behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing

from raftswarm.consensus.waiting import Bell, ManyWaiter, TaskWaiter
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


async def test_who_waits_for_many_answers_is_woken_by_the_last() -> None:
    waiter = ManyWaiter(4)
    answers: list[object] = []
    refusal = NotLeader("not here")

    async def ask() -> None:
        answers.extend(await waiter.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        waiter.settle(2, ["third", None], {1: refusal})
        waiter.settle(0, ["first"], {})
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        waiter.fail(1, 1, refusal)

    assert answers == ["first", refusal, "third", refusal]


async def test_many_answers_may_come_before_anybody_waits() -> None:
    waiter = ManyWaiter(1)
    waiter.settle(0, ["done"], {})

    assert await waiter.wait() == ["done"]
    assert await ManyWaiter(0).wait() == []


@pytest.mark.parametrize("in_the_same_pass", [False, True])
async def test_who_is_cancelled_while_waiting_for_many_is_not_woken(in_the_same_pass: bool) -> None:
    waiter = ManyWaiter(1)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            if in_the_same_pass:
                waiter.settle(0, ["too late"], {})

    if not in_the_same_pass:
        waiter.settle(0, ["too late"], {})
    assert scope.cancelled_caught


@pytest.mark.parametrize("make_waiter", [TaskWaiter, lambda: ManyWaiter(1)])
def test_an_answer_after_ctrl_c_is_dropped(make_waiter: Callable[[], TaskWaiter | ManyWaiter]) -> None:
    waiter = make_waiter()

    def strike_when_it_is_about_to_wait(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is type(waiter).wait.__code__ and event == "line" and waiter._task is not None:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return strike_when_it_is_about_to_wait

    async def wait() -> None:
        sys.settrace(strike_when_it_is_about_to_wait)
        await waiter.wait()

    with pytest.raises(KeyboardInterrupt):
        trio.run(wait)
    assert waiter._task is None, "nobody is left to be woken"


async def test_a_bell_wakes_whoever_waits_once_for_all_rings() -> None:
    bell, woken = Bell(), 0

    async def listen() -> None:
        nonlocal woken
        while True:
            await bell.wait()
            woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        bell.ring()
        bell.ring()
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 1
        bell.ring()
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 2
        nursery.cancel_scope.cancel()


async def test_a_ring_counts_for_whoever_waits_next() -> None:
    bell = Bell()
    bell.ring()

    await bell.wait()

    with trio.move_on_after(0) as scope:
        await bell.wait()
    assert scope.cancelled_caught, "one ring is one call"


async def test_a_ring_after_cancellation_is_kept() -> None:
    bell = Bell()
    with trio.move_on_after(0):
        await bell.wait()

    bell.ring()

    await bell.wait()
