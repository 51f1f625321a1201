"""Long work in slices."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from raftswarm.world.slices import Slices, in_one_piece, run_sliced
from raftswarm.world.watchdog import watch_loop


def count_to(number: int, done: list[int]) -> Slices[int]:
    for position in range(number):
        done.append(position)
        yield
    return number


async def test_others_have_their_turns_between_slices() -> None:
    done: list[int] = []
    seen: list[int] = []

    async def look() -> None:
        while len(done) < 1_000:
            seen.append(len(done))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        assert await run_sliced(count_to(1_000, done), at_once=100) == 1_000

    # In a round of the loop either may come first.
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 200


async def test_little_work_does_not_wait() -> None:
    with trio.testing.assert_no_checkpoints():
        assert await run_sliced(count_to(99, []), at_once=100) == 99


async def test_the_rest_of_cancelled_work_is_not_done() -> None:
    done: list[int] = []

    with trio.move_on_after(0) as scope:
        await run_sliced(count_to(1_000, done), at_once=100)

    assert scope.cancelled_caught
    assert len(done) <= 101


async def test_an_error_comes_out_of_the_slice_that_raised_it() -> None:
    def fail() -> Slices[None]:
        yield
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_sliced(fail())


async def test_a_slice_that_holds_the_loop_is_named() -> None:
    now = 0.0

    def slow() -> Slices[None]:
        nonlocal now
        yield
        now += 0.02

    with watch_loop(lambda: now) as watchdog:
        await run_sliced(slow())

    assert [name for name in watchdog.overruns if name.endswith("slow")] != []


def test_work_can_be_done_in_one_piece() -> None:
    assert in_one_piece(count_to(5, [])) == 5
