"""Histories that are taken down while they happen."""

from __future__ import annotations

from typing import TypeVar

import pytest
import trio

from raftswarm.errors import NotLeader, OutcomeUnknown, Overloaded, Rejected
from raftswarm.lab.linearizability import MODELS, HistoryRecorder, Operation, check

T = TypeVar("T")


async def answer(value: T) -> T:
    await trio.lowlevel.checkpoint()
    return value


async def fail(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def test_calls_are_taken_down_in_the_order_of_their_events() -> None:
    recorder = HistoryRecorder()

    await recorder.call(answer(None), "a", "write", 1, key="k")
    assert await recorder.call(answer(1), "b", "read", key="k") == 1

    assert recorder.operations == [
        Operation(client="a", kind="write", argument=1, key="k", invoked=1, returned=2),
        Operation(client="b", kind="read", result=1, key="k", invoked=3, returned=4),
    ]
    assert check(recorder.operations, MODELS["cas-register"]).is_linearizable


async def test_calls_of_several_clients_overlap() -> None:
    recorder = HistoryRecorder()

    async with trio.open_nursery() as nursery:
        for client in range(2):
            nursery.start_soon(recorder.call, answer(None), client, "write", client)

    one, other = recorder.operations
    assert (one.invoked, other.invoked) == (1, 2)
    assert {one.returned, other.returned} == {3, 4}


@pytest.mark.parametrize("error", [NotLeader(), Overloaded(), Rejected()])
async def test_what_did_not_happen_leaves_no_trace(error: Exception) -> None:
    recorder = HistoryRecorder()

    with pytest.raises(type(error)):
        await recorder.call(fail(error), "a", "write", 1)

    assert recorder.operations == []


@pytest.mark.parametrize("error", [OutcomeUnknown(), KeyError()])
async def test_what_may_have_happened_is_of_unknown_outcome(error: Exception) -> None:
    recorder = HistoryRecorder()

    with pytest.raises(type(error)):
        await recorder.call(fail(error), "a", "write", 1)

    assert recorder.operations == [Operation(client="a", kind="write", argument=1, invoked=1)]


async def test_what_is_under_way_or_was_cancelled_is_of_unknown_outcome() -> None:
    recorder = HistoryRecorder()

    with trio.move_on_after(0):
        await recorder.call(answer(None), "a", "write", 1)

    assert recorder.operations == [Operation(client="a", kind="write", argument=1, invoked=1)]
