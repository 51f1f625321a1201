"""What the lab counts on inside trio; when one of these fails, trio has changed, and `scheduling` has to follow."""

from __future__ import annotations

import trio
import trio.lowlevel
from trio._core import _run as trio_run

from raftswarm.lab.swarm.scheduling import Family, Scheduler, run_seeded, unwind


def order_of_turns(seed: int, tasks: int = 6, turns: int = 20) -> list[int]:
    """Who had a turn, in order, where all are always runnable."""
    order: list[int] = []

    async def take_turns(number: int) -> None:
        for _ in range(turns):
            order.append(number)
            await trio.lowlevel.checkpoint()

    async def main(scheduler: Scheduler) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(take_turns, number)

    run_seeded(main, seed)
    return order


def test_equal_seeds_give_equal_turns_and_others_give_others() -> None:
    assert order_of_turns(7) == order_of_turns(7)
    assert len({tuple(order_of_turns(seed)) for seed in range(10)}) == 10


def test_whoever_waits_for_one_deadline_wakes_in_an_order_that_the_seed_draws() -> None:
    def order(seed: int) -> list[int]:
        woken: list[int] = []

        async def sleep(number: int) -> None:
            await trio.sleep(1.0)
            woken.append(number)

        async def main(scheduler: Scheduler) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(sleep, number)

        run_seeded(main, seed)
        return woken

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(10)}) > 5


def test_what_trio_has_inside_is_left_as_it_was() -> None:
    switch, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()

    order_of_turns(1)

    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING is switch
    assert trio_run._r.getstate() == state


def test_time_jumps_when_all_wait() -> None:
    async def main(scheduler: Scheduler) -> float:
        await trio.sleep(10_000)
        return trio.current_time()

    assert run_seeded(main, 1) == 10_000


def test_a_frozen_family_has_no_turn_and_its_timers_wait_for_it() -> None:
    seen: list[float] = []

    async def child() -> None:
        while True:
            await trio.sleep(1.0)
            seen.append(trio.current_time())

    async def main(scheduler: Scheduler) -> None:
        family = Family()

        async def parent() -> None:
            family.found()
            async with trio.open_nursery() as children:
                children.start_soon(child)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent)
            await trio.sleep(2.5)
            await scheduler.between_batches(lambda: scheduler.freeze(family))
            await trio.sleep(10)
            assert seen == [1.0, 2.0]
            await scheduler.between_batches(lambda: scheduler.thaw(family))
            await trio.sleep(0.75)
            nursery.cancel_scope.cancel()

    run_seeded(main, 1)

    assert seen == [1.0, 2.0, 12.5]


def test_whoever_is_runnable_when_its_family_is_frozen_has_no_turn_either() -> None:
    turns = 0

    async def main(scheduler: Scheduler) -> int:
        family = Family()

        async def spin() -> None:
            nonlocal turns
            family.found()
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin)
            await trio.lowlevel.checkpoint()
            await scheduler.between_batches(lambda: scheduler.freeze(family))
            frozen_at = turns
            await trio.sleep(5)
            assert turns == frozen_at
            scheduler.thaw(family)
            nursery.cancel_scope.cancel()
        return frozen_at

    assert run_seeded(main, 1) > 0


def test_unwinding_ends_what_is_shielded_too() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await trio.sleep_forever()
                finally:
                    ended.append("at last")

    async def main(scheduler: Scheduler) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            await trio.sleep(1)
            await unwind(nursery)

    run_seeded(main, 1)

    assert ended == ["at last"]
