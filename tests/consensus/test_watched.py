"""A value that tasks wait on."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from raftswarm.consensus.watched import Watched
from raftswarm.errors import NotLeader


async def test_waiting_for_what_holds_already_returns_at_once() -> None:
    with trio.fail_after(0):
        assert await Watched(3).wait_until(lambda value: value > 2) == 3


async def test_everybody_who_waits_sees_the_value_they_wait_for() -> None:
    watched = Watched(0)
    seen: list[int] = []

    async def wait_for(least: int) -> None:
        seen.append(await watched.wait_until(lambda value: value >= least))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, 1)
        nursery.start_soon(wait_for, 2)
        await trio.testing.wait_all_tasks_blocked()
        watched.set(1)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [1]
        watched.set(2)

    assert seen == [1, 2]


async def test_a_watcher_is_given_the_value_and_then_each_newer_one() -> None:
    watched = Watched(0)
    seen: list[int] = []

    async def watch() -> None:
        async for value in watched:
            seen.append(value)
            if value == 2:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        for value in (1, 2):
            await trio.testing.wait_all_tasks_blocked()
            watched.set(value)

    assert seen == [0, 1, 2]


async def test_a_slow_watcher_skips_to_the_newest_and_misses_no_last_one() -> None:
    watched = Watched(0)
    changes = aiter(watched)
    assert await anext(changes) == 0

    for value in range(1, 100):
        watched.set(value)

    assert await anext(changes) == 99
    with trio.move_on_after(0) as nothing_more:
        await anext(changes)
    assert nothing_more.cancelled_caught


async def test_who_waits_for_what_never_comes_learns_that_there_will_be_no_newer_value() -> None:
    watched = Watched(0)

    async def wait() -> None:
        with pytest.raises(NotLeader, match="this member has stopped"):
            await watched.wait_until(lambda value: value > 0)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            watched.end("this member has stopped")
        await wait()


async def test_the_last_value_can_still_be_waited_for_and_is_given_before_watching_ends() -> None:
    watched = Watched(0)
    seen: list[int] = []

    async def watch() -> None:
        seen.extend([value async for value in watched])

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            watched.set(1)
            watched.end("this member has stopped")

    assert seen == [0, 1]
    assert await watched.wait_until(lambda value: value == 1) == 1


async def test_a_cancelled_waiter_is_not_told_of_the_end() -> None:
    watched = Watched(0)
    with trio.CancelScope() as scope:
        watched.end("this member has stopped")
        scope.cancel()
        await watched.wait_until(lambda value: value > 0)
    assert scope.cancelled_caught
