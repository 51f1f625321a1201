"""Waiting for answers on trio, at the price of one block and one wake: no Event or channel per command.

Ctrl-C comes before or after each step here, never within: it would leave a task to be woken that does not wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import outcome
import trio

from raftswarm.errors import OutcomeUnknown, RaftSwarmError

_TOLD: Final = outcome.Value(None)


class TaskWaiter:
    """One task waits for one answer. Cancelled while it waits, it is forgotten: the outcome is then unknown to it."""

    __slots__ = ("_answer", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._answer: outcome.Maybe[object] | None = None

    @trio.lowlevel.enable_ki_protection
    def complete(self, result: object) -> None:
        """Wake the task with a result."""
        self._settle(outcome.Value(result))

    @trio.lowlevel.enable_ki_protection
    def fail(self, error: RaftSwarmError) -> None:
        """Wake the task with an error."""
        self._settle(outcome.Error(error))

    def _settle(self, answer: outcome.Maybe[object]) -> None:
        if self._answer is not None:
            return  # Its task was cancelled.
        task = self._task
        if task is None:
            self._answer = answer
        else:  # The answer is not kept here: an error refers to the frames it passes, and they to this.
            self._answer = _TOLD
            self._task = None
            trio.lowlevel.reschedule(task, answer)

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> object:
        """Return the result or raise the error."""
        if self._answer is not None:
            await trio.lowlevel.checkpoint()
            return self._answer.unwrap()
        self._task = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        self._answer = outcome.Error(OutcomeUnknown("the caller was cancelled"))
        return trio.lowlevel.Abort.SUCCEEDED


class ManyWaiter:
    """One task waits for the results of a run of commands (`proposals.Proposers`), and is woken once, by the last.

    Cancelled while it waits, it is forgotten.
    """

    __slots__ = ("_answers", "_missing", "_task")

    def __init__(self, count: int) -> None:
        self._answers: list[object] = [None] * count
        self._missing = count
        self._task: trio.lowlevel.Task | None = None

    @trio.lowlevel.enable_ki_protection
    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Take in the results of neighbouring commands; the last wakes the task."""
        count = len(results)
        self._answers[first : first + count] = results
        for place, error in failed.items():
            self._answers[first + place] = error
        self._settled(count)

    @trio.lowlevel.enable_ki_protection
    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        """The same error for each of them."""
        self._answers[first : first + count] = [error] * count
        self._settled(count)

    def _settled(self, count: int) -> None:
        self._missing -= count
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
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self._answers

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Bell:
    """One task sleeps until somebody rings; a ring while it is awake counts for the next time."""

    __slots__ = ("_has_rung", "_task")

    def __init__(self) -> None:
        self._has_rung = False
        self._task: trio.lowlevel.Task | None = None

    @trio.lowlevel.enable_ki_protection
    def ring(self) -> None:
        """Wake the task."""
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None
        else:
            self._has_rung = True

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> None:
        """Return when it has rung since the last time."""
        if self._has_rung:
            self._has_rung = False
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._has_rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
