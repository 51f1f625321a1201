"""Who waits in a client: a task with one request, or with many, at the price of one block and one wake.

No Event, channel or cancel scope is made for a call: the last outcome reschedules its task, and one task of the client
looks whose time is over. Ctrl-C comes before or after each step here, never within: it would leave a task to be woken
that does not wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

import trio
from outcome import Value

from raftswarm.consensus.requests import Request

MISSING: Final = object()
"""In the place of an outcome that has not come."""


class Caller(Protocol):
    """A call that waits."""

    @property
    def deadline(self) -> float:
        """When it waits no longer, on trio's clock."""
        ...

    def give_up(self) -> None:
        """Let it have what there is."""
        ...


class LoneRequest(Request):
    """A request that a task waits for."""

    __slots__ = ("_task", "deadline")

    def __init__(self, body: bytes, deadline: float) -> None:
        super().__init__(body)
        self.deadline = deadline
        self._task: trio.lowlevel.Task | None = None

    @trio.lowlevel.enable_ki_protection
    def settle(self, outcome: object) -> None:
        """Wake the task with a result, or with the error as a value."""
        self.is_over = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, Value(outcome))

    def give_up(self) -> None:
        """Wake the task with nothing."""
        self.settle(MISSING)

    @trio.lowlevel.enable_ki_protection
    def wait(self) -> Awaitable[object]:
        """Wait for the outcome, or `MISSING`: await this at once, and shielded from Ctrl-C, as one coroutine less."""
        self._task = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - the caller awaits it

    @trio.lowlevel.enable_ki_protection
    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self.is_over = True
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class ManyRequests:
    """Requests that a task waits for; the last outcome wakes it."""

    def __init__(self, bodies: Sequence[bytes], deadline: float) -> None:
        self.deadline = deadline
        self.requests = [_Part(body, self, place) for place, body in enumerate(bodies)]
        self.outcomes: list[object] = [MISSING] * len(bodies)
        self._missing = len(bodies)
        self._task: trio.lowlevel.Task | None = None

    @trio.lowlevel.enable_ki_protection
    def settle(self, place: int, outcome: object) -> None:
        """Take one outcome; the last wakes the task."""
        self.outcomes[place] = outcome
        self._missing -= 1
        if not self._missing:
            self._wake()

    @trio.lowlevel.enable_ki_protection
    def give_up(self) -> None:
        """Wake the task with the outcomes that there are."""
        self._abandon()
        self._wake()

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> None:
        """Return when all outcomes are there, or none is waited for any more."""
        if not self._missing:
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    @trio.lowlevel.enable_ki_protection
    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._abandon()
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _abandon(self) -> None:
        for request in self.requests:
            request.is_over = True


class _Part(Request):
    """One of many."""

    __slots__ = ("_call", "_place")

    def __init__(self, body: bytes, call: ManyRequests, place: int) -> None:
        super().__init__(body)
        self._call = call
        self._place = place

    def settle(self, outcome: object) -> None:
        """Pass it on."""
        self._call.settle(self._place, outcome)
