"""Whoever waits in a client is woken once: by the last outcome, when its time is over, or by being cancelled."""

from __future__ import annotations

import signal
import sys
from random import Random
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing

from raftswarm.ca.identity import WORKER, Identity
from raftswarm.consensus.callers import MISSING, LoneRequest, ManyRequests
from raftswarm.consensus.client import Client, open_client
from raftswarm.errors import Rejected
from raftswarm.transport.memory import MemoryCable


async def test_an_outcome_wakes_the_task_that_waits(nursery: trio.Nursery) -> None:
    request = LoneRequest(b"x", deadline=1.0)
    told: list[object] = []

    async def wait() -> None:
        told.append(await request.wait())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    request.settle("done")
    request.give_up()
    await trio.testing.wait_all_tasks_blocked()

    assert told == ["done"]
    assert request.is_over


async def test_who_gives_up_has_nothing(nursery: trio.Nursery) -> None:
    request = LoneRequest(b"x", deadline=1.0)
    told: list[object] = []

    async def wait() -> None:
        told.append(await request.wait())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    request.give_up()
    request.settle("too late")
    await trio.testing.wait_all_tasks_blocked()

    assert told == [MISSING]


async def test_the_last_of_many_outcomes_wakes_the_task(nursery: trio.Nursery) -> None:
    call = ManyRequests([b"a", b"b"], deadline=1.0)
    refusal = Rejected("no")
    woken = trio.Event()

    async def wait() -> None:
        await call.wait()
        woken.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    call.requests[1].settle(refusal)
    await trio.testing.wait_all_tasks_blocked()
    assert not woken.is_set()
    call.requests[0].settle("first")
    await woken.wait()

    assert call.outcomes == ["first", refusal]


async def test_who_waits_for_many_and_gives_up_has_what_there_is(nursery: trio.Nursery) -> None:
    call = ManyRequests([b"a", b"b"], deadline=1.0)
    nursery.start_soon(call.wait)
    await trio.testing.wait_all_tasks_blocked()

    call.requests[0].settle("first")
    call.give_up()

    assert call.outcomes == ["first", MISSING]
    assert all(request.is_over for request in call.requests)
    await ManyRequests([], deadline=1.0).wait()


@pytest.mark.parametrize("in_the_same_pass", [False, True])
async def test_an_outcome_after_cancellation_is_dropped(in_the_same_pass: bool) -> None:
    lone, many = LoneRequest(b"x", deadline=1.0), ManyRequests([b"x"], deadline=1.0)

    async def wait_for_one() -> None:
        await lone.wait()

    def settle() -> None:
        for request in (lone, many.requests[0]):
            request.settle("too late")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_one)
            nursery.start_soon(many.wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            if in_the_same_pass:
                settle()
    if not in_the_same_pass:
        settle()

    assert scope.cancelled_caught
    assert lone.is_over
    assert many.requests[0].is_over


def test_ctrl_c_leaves_no_task_to_be_woken_that_does_not_wait() -> None:
    struck: list[LoneRequest] = []

    def strike_between_the_note_and_the_wait(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is Client._ask.__code__:
            frame.f_trace_opcodes = True
            request = frame.f_locals.get("request")
            if event == "opcode" and not struck and request is not None and request._task is not None:
                struck.append(request)
                signal.raise_signal(signal.SIGINT)
        return strike_between_the_note_and_the_wait

    async def main() -> None:
        network = MemoryCable().plug_plain("client", Identity("client", WORKER, "memory"))
        async with open_client(network, "memory", ["a:7000"], Random(1)) as client:
            sys.settrace(strike_between_the_note_and_the_wait)
            await client.propose(b"x")

    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        sys.settrace(None)

    assert struck
    assert struck[0]._task is None
