"""Taking down what clients do, while they do it."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import TypeVar

import attrs

from raftswarm.errors import NotLeader, Overloaded, PayloadTooLarge, Rejected
from raftswarm.lab.linearizability.operations import Operation

T = TypeVar("T", bound=Hashable)

NOTHING_HAPPENED = (NotLeader, Overloaded, PayloadTooLarge, Rejected)


class HistoryRecorder:
    """A history that grows. Events are numbered as they come, so there are no doubts about which was first."""

    def __init__(self) -> None:
        self._events = 0
        self._operations: dict[float, Operation] = {}
        """By when they were invoked."""

    @property
    def operations(self) -> list[Operation]:
        """All so far; what is under way has an unknown outcome."""
        return list(self._operations.values())

    @property
    def count(self) -> int:
        """How many there are, with those under way."""
        return len(self._operations)

    async def call(
        self,
        call: Awaitable[T],
        client: Hashable,
        kind: str,
        argument: Hashable = None,
        *,
        key: Hashable = None,
    ) -> T:
        """Await the call and take down what came of it. Errors are raised on.

        A call that failed for NotLeader, Overloaded, PayloadTooLarge or Rejected changed nothing, and leaves no trace;
        any other error, and cancellation, leaves its outcome unknown.
        """
        asked = Operation(client=client, kind=kind, argument=argument, key=key, invoked=self._next_event())
        self._operations[asked.invoked] = asked
        try:
            result = await call
        except NOTHING_HAPPENED:
            del self._operations[asked.invoked]
            raise
        self._operations[asked.invoked] = attrs.evolve(asked, result=result, returned=self._next_event())
        return result

    def _next_event(self) -> int:
        self._events += 1
        return self._events
