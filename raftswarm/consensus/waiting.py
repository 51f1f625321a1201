"""Waiting for answers on trio, at the price of one block and one wake: no Event or channel per command.

Ctrl-C comes before or after each step here, never within: it would leave a task to be woken that does not wait.
"""

from __future__ import annotations

import outcome
import trio

from raftswarm.errors import OutcomeUnknown, RaftSwarmError


class TaskWaiter:
    """One task waits for one answer. Cancelled while it waits, it is forgotten: the outcome is then unknown to it."""

    __slots__ = ("_answer", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._answer: outcome.Maybe[object] | None = None

    def complete(self, result: object) -> None:
        """Wake the task with a result."""
        self._settle(outcome.Value(result))

    def fail(self, error: RaftSwarmError) -> None:
        """Wake the task with an error."""
        self._settle(outcome.Error(error))

    @trio.lowlevel.enable_ki_protection
    def _settle(self, answer: outcome.Maybe[object]) -> None:
        if self._answer is not None:
            return  # Its task was cancelled.
        self._answer = answer
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, answer)
            self._task = None

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> object:
        """Return the result or raise the error."""
        if self._answer is not None:
            await trio.lowlevel.checkpoint()
            return self._answer.unwrap()
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            self._answer = outcome.Error(OutcomeUnknown("the caller was cancelled"))
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)


class ManyWaiter:
    """One task waits for many answers, and is woken once, by the last. Cancelled while it waits, it is forgotten."""

    __slots__ = ("_answers", "_missing", "_task")

    def __init__(self, count: int) -> None:
        self._answers: list[object] = [None] * count
        self._missing = count
        self._task: trio.lowlevel.Task | None = None

    def part(self, position: int) -> _Part:
        """Return who waits for the answer that goes to that place."""
        return _Part(self, position)

    @trio.lowlevel.enable_ki_protection
    def settle(self, position: int, answer: object) -> None:
        """Take in one answer; the last wakes the task."""
        self._answers[position] = answer
        self._missing -= 1
        if not self._missing and self._task is not None:
            trio.lowlevel.reschedule(self._task, outcome.Value(None))
            self._task = None

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> list[object]:
        """Return all answers in order: results, and the errors of those that failed."""
        if not self._missing:
            await trio.lowlevel.checkpoint()
            return self._answers
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return self._answers


class _Part:
    """One of the answers that a `ManyWaiter` waits for."""

    __slots__ = ("_position", "_whole")

    def __init__(self, whole: ManyWaiter, position: int) -> None:
        self._whole = whole
        self._position = position

    def complete(self, result: object) -> None:
        self._whole.settle(self._position, result)

    def fail(self, error: RaftSwarmError) -> None:
        self._whole.settle(self._position, error)
