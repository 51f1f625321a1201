"""A replicated counter."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from raftswarm.errors import InvalidSpec, Rejected
from raftswarm.raft.state_machine import Context
from raftswarm.recipes.handles import ReplicatedObject
from raftswarm.recipes.requests import Request

MAX_COUNT = 2**63 - 1


class Increase(Request, frozen=True, tag=10):
    """Add to the count."""

    amount: int


class GetCount(Request, frozen=True, tag=10):
    """Look at the count."""


class CounterState(msgspec.Struct, array_like=True, tag="counter"):
    """The counter as the machine has it."""

    commands: ClassVar = (Increase,)
    questions: ClassVar = (GetCount,)

    count: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return self.count == 0

    def copy(self) -> CounterState:
        """Return one that stays as this one is now."""
        return CounterState(self.count)

    def apply(self, command: Increase, context: Context) -> int:
        """Add."""
        del context
        count = self.count + command.amount
        if abs(count) > MAX_COUNT:
            raise Rejected(f"{self.count} and {command.amount} add up to more than 63 bits")
        self.count = count
        return count

    def query(self, question: GetCount, time_ns: int) -> int:
        """Return the count."""
        del question, time_ns
        return self.count


class ReplicatedCounter(ReplicatedObject):
    """A number that all members of a cluster agree on. It begins at 0 and has 63 bits and a sign.

    An `add` that ended with OutcomeUnknown may have been counted, or may be yet. A client with a session tries again
    and counts once.
    """

    async def add(self, amount: int = 1) -> int:
        """Add, and return the new count; Rejected if that would not fit."""
        if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) > MAX_COUNT:
            raise InvalidSpec(f"{amount!r} cannot be added: it is no whole number of at most 63 bits")
        return int(await self._change(Increase(self.name, amount)))

    async def value(self) -> int:
        """Return the count."""
        return int(await self._look(GetCount(self.name)))
