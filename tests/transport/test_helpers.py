"""Tasks that serve a block of code."""

from __future__ import annotations

import pytest
import trio

from raftswarm.transport.helpers import open_helpers


async def test_helpers_end_with_the_block() -> None:
    ended = trio.Event()

    async def help_on() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with open_helpers() as nursery:
        nursery.start_soon(help_on)
        await trio.testing.wait_all_tasks_blocked()
    assert ended.is_set()


async def test_the_blocks_error_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with open_helpers() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()


async def test_a_helpers_error_ends_the_block() -> None:
    async def fail() -> None:
        raise KeyError("the helper's")

    async def use() -> None:
        async with open_helpers() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.RaisesGroup(KeyError):
        await use()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_comes_out_as_it_is(end: type[BaseException]) -> None:
    async def stop() -> None:
        raise end

    async def be_stopped() -> None:
        async with open_helpers(), open_helpers() as nursery, trio.open_nursery():
            nursery.start_soon(stop)
            await trio.sleep_forever()

    with pytest.raises(end):
        await be_stopped()
