"""What histories are held against: sequential objects, each a start and a step.

A model says what an object does when its operations come one at a time. Operations of unknown outcome fit with any
result. Two more answers make the search fast, and never change its verdict: which operations only look (`is_read`),
and what of a state still matters to the operations that are to come (`foresee`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

from raftswarm.lab.linearizability.operations import Operation

State = Any
"""Of a model; hashable, and never changed."""


class _Mismatch:
    """The answer of `step` for an operation that does not fit, and of `foresee` for a state that leads nowhere."""

    def __repr__(self) -> str:
        return "MISMATCH"


MISMATCH: Final = _Mismatch()

Foresight = Callable[[State, int], State]
"""What matters of a state while the operations in a bit set are still to come; MISMATCH if they cannot all come."""


class Model(Protocol):
    """A sequential object."""

    @property
    def kinds(self) -> frozenset[str]:
        """What its operations are called."""
        ...

    @property
    def initial(self) -> Hashable:
        """The state before any operation."""
        ...

    def step(self, state: State, operation: Operation) -> State:
        """Return the state after the operation; MISMATCH if it would not have had its result."""
        ...

    def is_read(self, operation: Operation) -> bool:
        """Tell whether an operation of known outcome changes nothing, in whatever state it has that result."""
        ...

    def foresee(self, operations: Sequence[Operation]) -> Foresight | None:
        """Return how to look ahead in a history of these operations; None if the model cannot."""
        ...


@attrs.frozen
class _Model:
    """What models have in common."""

    def foresee(self, operations: Sequence[Operation]) -> Foresight | None:
        """Look no further."""
        del operations
        return None


def _look(state: State, operation: Operation, seen: object) -> State:
    """Return the same state, if that is what the operation saw."""
    return state if operation.returned is None or operation.result == seen else MISMATCH


@attrs.frozen
class Register(_Model):
    """A value: `write` sets it, `read` returns it, `cas` (from, to) sets it if it is what was expected."""

    initial: Hashable = None
    kinds: frozenset[str] = frozenset({"write", "read", "cas"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        match operation.kind:
            case "read":
                return _look(state, operation, state)
            case "write":
                return operation.argument
            case _:
                pair: Any = operation.argument
                expected, new = pair
                if operation.returned is not None and operation.result is not (state == expected):
                    return MISMATCH
                return new if state == expected else state

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it is a `read`, or a `cas` that failed."""
        return operation.kind == "read" or (operation.kind == "cas" and operation.result is False)


@attrs.frozen
class Sequential(_Model):
    """A string or list: `put` sets it, `append` adds at the end, `get` returns all of it.

    A `get` tells the order of all appends before it, so the search looks ahead: what no `get` to come begins with leads
    to no `get`, and all such states are alike until a `put`.
    """

    initial: str | tuple[Hashable, ...] = ""
    kinds: frozenset[str] = frozenset({"put", "append", "get"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        match operation.kind:
            case "get":
                return _look(state, operation, state)
            case "put":
                return operation.argument
            case _ if state is UNSEEN:
                return UNSEEN
            case _ if isinstance(state, tuple):
                return (*state, operation.argument)
            case _:
                return state + operation.argument

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it is a `get`."""
        return operation.kind == "get"

    def foresee(self, operations: Sequence[Operation]) -> Foresight | None:
        """Look at the results of the gets to come."""
        gets: list[tuple[float, int, Any, int]] = sorted(
            (_deadline(operation), 1 << place, operation.result, _puts_before(operations, operation))
            for place, operation in enumerate(operations)
            if operation.kind == "get" and operation.returned is not None
        )

        def look(state: State, to_come: int) -> State:
            for _, bit, result, puts in gets:
                if to_come & bit:
                    if state is not UNSEEN and result[: len(state)] == state:
                        return state
                    if not puts & to_come:
                        return MISMATCH
            return UNSEEN

        return look


class _Unseen:
    """A state that nobody will look at."""

    def __repr__(self) -> str:
        return "(whatever nobody reads)"


UNSEEN: Final = _Unseen()


def _deadline(operation: Operation) -> float:
    return float("inf") if operation.returned is None else operation.returned


def _puts_before(operations: Sequence[Operation], get: Operation) -> int:
    """The puts, as a bit set, that may be what the `get` sees the beginning of."""
    result: Any = get.result
    puts = 0
    for place, operation in enumerate(operations):
        value: Any = operation.argument
        may_precede = operation.kind == "put" and operation.invoked <= _deadline(get)
        if may_precede and result[: len(value)] == value:
            puts |= 1 << place
    return puts


@attrs.frozen
class Set(_Model):
    """A set: `add` and `discard` tell whether they changed it, `contains` and `members` look."""

    initial: frozenset[Hashable] = frozenset()
    kinds: frozenset[str] = frozenset({"add", "discard", "contains", "members"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        match operation.kind:
            case "members":
                return _look(state, operation, state)
            case "contains":
                return _look(state, operation, operation.argument in state)
            case "add":
                new, changes = state | {operation.argument}, operation.argument not in state
            case _:
                new, changes = state - {operation.argument}, operation.argument in state
        return new if operation.returned is None or operation.result is changes else MISMATCH

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it looks, or changed nothing."""
        return operation.kind in {"contains", "members"} or operation.result is False


@attrs.frozen
class Counter(_Model):
    """A number: `increase` returns the sum, `value` looks."""

    initial: int = 0
    kinds: frozenset[str] = frozenset({"increase", "value"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        new = state + operation.argument if operation.kind == "increase" else state
        return new if operation.returned is None or operation.result == new else MISMATCH

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it is a `value`."""
        return operation.kind == "value"


@attrs.frozen
class Queue(_Model):
    """First in, first out: `put` adds at the end, `take` removes the first and returns it, None if there is none."""

    initial: tuple[Hashable, ...] = ()
    kinds: frozenset[str] = frozenset({"put", "take"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        if operation.kind == "put":
            return (*state, operation.argument)
        first = state[0] if state else None
        return state[1:] if operation.returned is None or operation.result == first else MISMATCH

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it is a `take` that found nothing."""
        return operation.kind == "take" and operation.result is None


@attrs.frozen
class Lock(_Model):
    """A lock with fencing tokens: `acquire` returns one, higher than all before, or None if another holds the lock.

    `release` and `renew` of a token tell whether it was still the holder's. With `expires`, a holder may lose the lock
    at any time, for want of a renewal, but never get it back under the same token.
    """

    expires: bool = True
    initial: tuple[int, int | None] = (0, None)
    """The highest token seen, and that of the holder: None if it is free, `UNTOLD` if nobody was told."""
    kinds: frozenset[str] = frozenset({"acquire", "renew", "release"})

    def step(self, state: State, operation: Operation) -> State:
        """Apply one operation."""
        return self._acquire(state, operation) if operation.kind == "acquire" else self._keep(state, operation)

    def _acquire(self, state: State, operation: Operation) -> State:
        newest, holder = state
        token: Any = operation.result
        if operation.returned is not None and token is None:
            return state if holder is not None else MISMATCH
        if holder is not None and not self.expires:
            return state if operation.returned is None else MISMATCH
        if operation.returned is None:
            return newest, UNTOLD
        return (token, token) if token > newest else MISMATCH

    def _keep(self, state: State, operation: Operation) -> State:
        newest, holder = state
        token: Any = operation.argument
        holds = holder == token or (holder == UNTOLD and token > newest)
        if not holds:
            return MISMATCH if operation.result is True else state
        if operation.returned is None or operation.result is True:
            return max(newest, token), None if operation.kind == "release" else token
        return (max(newest, token), None) if self.expires else MISMATCH

    def is_read(self, operation: Operation) -> bool:
        """Tell whether it was refused the lock."""
        return operation.kind == "acquire" and operation.result is None


UNTOLD: Final = -1
"""Stands for the token of a holder that never learned it."""


MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {
        "cas-register": Register(),
        "kv-append": Sequential(),
        "list-append": Sequential(()),
        "set": Set(),
        "counter": Counter(),
        "queue": Queue(),
        "lock": Lock(),
    }
)
"""By the names that histories call them."""
