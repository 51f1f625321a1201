"""How long to wait before dialling again."""

from __future__ import annotations

from random import Random

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.transport.redial import AFTER_REFUSAL_SECONDS, FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS, Backoff


async def wait_seconds(backoff: Backoff) -> float:
    before = trio.current_time()
    await backoff.wait()
    return trio.current_time() - before


async def test_the_first_dial_waits_for_nothing_and_later_ones_ever_longer_up_to_a_second(
    autojump_clock: MockClock,
) -> None:
    backoff = Backoff(Random(1))

    waits = [await wait_seconds(backoff) for _ in range(12)]

    assert waits[0] == 0
    for number, wait in enumerate(waits[1:]):
        longest = min(FIRST_DELAY_SECONDS * 2**number, LAST_DELAY_SECONDS)
        assert longest / 2 <= wait <= longest + 1e-6


async def test_a_link_that_held_makes_the_next_dial_immediate_and_one_that_did_not_does_not(
    autojump_clock: MockClock,
) -> None:
    backoff = Backoff(Random(1))
    for _ in range(5):
        await backoff.wait()

    backoff.succeeded(open_seconds=0.5)
    assert await wait_seconds(backoff) > 0
    backoff.succeeded(open_seconds=1.0)
    assert await wait_seconds(backoff) == 0


async def test_after_a_refusal_there_is_no_hurry(autojump_clock: MockClock) -> None:
    backoff = Backoff(Random(1))
    await backoff.wait()

    backoff.refused()

    assert AFTER_REFUSAL_SECONDS / 2 <= await wait_seconds(backoff) <= AFTER_REFUSAL_SECONDS + 1e-6


async def test_two_members_do_not_dial_in_step(autojump_clock: MockClock) -> None:
    one, other = Backoff(Random(1)), Backoff(Random(2))
    for backoff in (one, other):
        await backoff.wait()

    assert await wait_seconds(one) != await wait_seconds(other)


async def test_hearing_of_the_peer_ends_the_wait_and_begins_anew(autojump_clock: MockClock) -> None:
    backoff = Backoff(Random(1))
    for _ in range(10):
        await backoff.wait()

    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backoff.wait)
        await wait_all_tasks_blocked()
        backoff.hurry()
    assert trio.current_time() == before
    assert await wait_seconds(backoff) == 0
