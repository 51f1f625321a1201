"""Waiting for bells and deadlines."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from raftswarm.manager.dispatcher.signals import Bell, Deadlines


async def test_a_ring_before_the_wait_is_heard_once(autojump_clock: MockClock) -> None:
    bell = Bell()
    bell.ring()
    bell.ring()

    await bell.wait()

    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(1):
            await bell.wait()


async def test_keys_come_when_they_are_due(autojump_clock: MockClock) -> None:
    deadlines: Deadlines[str] = Deadlines()
    start = trio.current_time()
    for key, seconds in (("c", 3), ("a", 1), ("b", 2), ("b2", 2), ("dropped", 1)):
        deadlines.set(key, start + seconds)
    deadlines.drop("dropped")

    seen = [(await deadlines.wait_due(), trio.current_time() - start) for _ in range(3)]

    assert seen == [(["a"], 1), (["b", "b2"], 2), (["c"], 3)]


async def test_a_moved_deadline_counts_once_at_its_last_place(autojump_clock: MockClock) -> None:
    deadlines: Deadlines[str] = Deadlines()
    start = trio.current_time()
    deadlines.set("later", start + 1)
    deadlines.set("later", start + 5)
    deadlines.set("sooner", start + 10)
    deadlines.set("sooner", start + 2)
    deadlines.set("end", start + 20)

    seen = [(await deadlines.wait_due(), trio.current_time() - start) for _ in range(3)]

    assert seen == [(["sooner"], 2), (["later"], 5), (["end"], 20)]


async def test_a_sooner_deadline_wakes_who_waits_for_a_later_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    deadlines: Deadlines[str] = Deadlines()
    start = trio.current_time()
    deadlines.set("far", start + 100)

    async def set_soon() -> None:
        await trio.sleep(1)
        deadlines.set("near", start + 2)

    nursery.start_soon(set_soon)

    assert (await deadlines.wait_due(), trio.current_time() - start) == (["near"], 2)
