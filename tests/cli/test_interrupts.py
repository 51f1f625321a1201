"""Ctrl-C cancels what a command does, and never its cleaning up."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from raftswarm.cli.interrupts import run_until_interrupted
from raftswarm.errors import RaftSwarmError


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_what_the_work_returns_is_returned() -> None:
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert run_until_interrupted(work) == 7


def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    async def work() -> None:
        await trio.lowlevel.checkpoint()
        raise RaftSwarmError("no")

    with pytest.raises(RaftSwarmError, match="no"):
        run_until_interrupted(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_work_cleans_up_and_further_signals_do_not_disturb_it(number: signal.Signals) -> None:
    cleaned: list[str] = []

    async def work() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                os.kill(os.getpid(), number)
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(3):
                    press_ctrl_c()
                    await trio.lowlevel.checkpoint()
                cleaned.append("all")

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted(work)

    assert cleaned == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
