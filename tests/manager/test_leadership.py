"""Leadership as a nursery (SWARM 12.5, 13)."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import NotLeader
from raftswarm.manager.leadership import RESTART_SECONDS, run_while_leading


class Switch:
    """A leadership to turn on and off."""

    def __init__(self) -> None:
        self._leading = False
        self._changed = trio.Event()

    def turn(self, *, on: bool) -> None:
        self._leading = on
        self._changed.set()
        self._changed = trio.Event()

    async def wait_gained(self) -> None:
        while not self._leading:
            await self._changed.wait()

    async def wait_lost(self) -> None:
        while self._leading:
            await self._changed.wait()


class Loop:
    """Notes when it begins and when its cleanup is done; fails as often as told."""

    def __init__(self, *failures: Exception) -> None:
        self.told: list[str] = []
        self._failures = list(failures)

    async def run(self) -> None:
        self.told.append("began")
        if self._failures:
            raise self._failures.pop(0)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            self.told.append("cleaned up")


async def test_loops_run_from_gaining_to_losing_leadership_and_in_the_next_term_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    switch, loop = Switch(), Loop()
    nursery.start_soon(run_while_leading, switch, [loop.run])
    await trio.sleep(1)
    assert loop.told == []

    for _ in range(2):
        switch.turn(on=True)
        await trio.sleep(1)
        switch.turn(on=False)
        await trio.sleep(1)

    assert loop.told == ["began", "cleaned up"] * 2


async def test_the_next_term_waits_for_the_cleanup_of_the_one_before(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    switch, loop = Switch(), Loop()
    nursery.start_soon(run_while_leading, switch, [loop.run])
    switch.turn(on=True)
    await trio.sleep(1)

    switch.turn(on=False)
    await wait_all_tasks_blocked()
    switch.turn(on=True)
    await wait_all_tasks_blocked()
    assert loop.told == ["began"]
    await trio.sleep(1)

    assert loop.told == ["began", "cleaned up", "began"]


async def test_a_loop_that_fails_is_logged_counted_and_begun_anew_while_the_others_go_on(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    switch, healthy = Switch(), Loop()
    failing = Loop(ZeroDivisionError("bug"), ExceptionGroup("in a nursery", [KeyError("bug")]))
    crashes: Counter[str] = Counter()
    nursery.start_soon(run_while_leading, switch, [failing.run, healthy.run], crashes)
    switch.turn(on=True)

    await trio.sleep(RESTART_SECONDS / 2)
    assert failing.told == ["began"]
    await trio.sleep(2 * RESTART_SECONDS)

    assert failing.told == ["began"] * 3
    assert healthy.told == ["began"]
    assert crashes == {"Loop.run": 2}
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_a_loop_that_learns_first_of_the_lost_leadership_is_no_fault(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    switch, loop = Switch(), Loop(NotLeader("not any more"))
    crashes: Counter[str] = Counter()
    nursery.start_soon(run_while_leading, switch, [loop.run], crashes)

    with caplog.at_level(logging.WARNING):
        switch.turn(on=True)
        await trio.sleep(0.5)

    assert not crashes
    assert caplog.records == []
