"""What holds the loop is counted and named."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from raftswarm.world.watchdog import ROUND, Watchdog, current_watchdog, watch_loop


class Clock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_round_that_takes_too_long_is_counted(clock: Clock) -> None:
    with watch_loop(clock) as watchdog:
        await trio.testing.wait_all_tasks_blocked()
        clock.seconds += 0.011
        await trio.testing.wait_all_tasks_blocked()
        clock.seconds += 0.009
        await trio.testing.wait_all_tasks_blocked()

    assert watchdog.overruns == {ROUND: 1}


async def test_the_wait_for_sockets_and_timers_is_no_overrun(clock: Clock) -> None:
    watchdog = Watchdog(clock)

    watchdog.after_io_wait(0)
    watchdog.before_io_wait(60)
    clock.seconds += 60
    watchdog.after_io_wait(60)
    watchdog.before_io_wait(0)

    assert watchdog.overruns == {}


async def test_the_task_is_named_on_request(clock: Clock) -> None:
    async def dawdle() -> None:
        await trio.lowlevel.checkpoint()
        clock.seconds += 0.5

    with watch_loop(clock, name_tasks=True) as watchdog:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dawdle, name="dawdle")

    assert watchdog.overruns["task dawdle"] == 1


async def test_tasks_are_named_if_the_environment_says_so(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTSWARM_WATCHDOG", "1")

    with watch_loop(clock) as watchdog:
        await trio.lowlevel.checkpoint()
        clock.seconds += 0.5
        await trio.lowlevel.checkpoint()

    assert any(name.startswith("task ") for name in watchdog.overruns)


def test_a_name_is_told_of_once_a_second(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(clock)

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            watchdog.note("the planner", 0.02)
        watchdog.note("the reaper", 0.0234)
        clock.seconds += 1
        watchdog.note("the planner", 0.02)

    assert watchdog.overruns == {"the planner": 4, "the reaper": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "the planner held the loop for 20 ms (1 times so far)",
        "the reaper held the loop for 23 ms (1 times so far)",
        "the planner held the loop for 20 ms (4 times so far)",
    ]


def test_long_garbage_collections_are_named_when_the_round_has_ended(clock: Clock) -> None:
    watchdog = Watchdog(clock)
    watchdog.after_io_wait(0)

    watchdog.collecting("start", {"generation": 2})
    clock.seconds += 0.2
    watchdog.collecting("stop", {"generation": 2})
    watchdog.collecting("start", {"generation": 0})
    clock.seconds += 0.001
    watchdog.collecting("stop", {"generation": 0})
    assert watchdog.overruns == {}

    watchdog.before_io_wait(0)
    assert watchdog.overruns == {ROUND: 1, "garbage collection of generation 2": 1}


async def test_who_watches_the_same_loop_shares_the_watchdog(clock: Clock) -> None:
    assert current_watchdog() is None
    with watch_loop(clock) as first:
        with watch_loop() as second:
            assert second is first
        assert current_watchdog() is first

    assert current_watchdog() is None
    clock.seconds += 5
    await trio.testing.wait_all_tasks_blocked()
    assert first.overruns == {}
