"""The smallest window in which a history shows that it is not linearizable: what a person has to look at.

The end is the first return by which no order is left. The beginning is the last invocation from which on there is none
either, whatever state the object was in by then. Both can be found by halving: more of a history only rules out more.
What was under way at an edge is given every freedom, so what is refuted here is refuted in the whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from math import inf
from typing import Any, Final

import attrs

from raftswarm.lab.linearizability.models import UNSEEN, Model, Register, Sequential
from raftswarm.lab.linearizability.operations import Operation
from raftswarm.lab.linearizability.search import Search

MAX_CONFIGURATIONS: Final = 20_000
"""Of one try: a window that takes more to judge is not taken for smaller."""


@attrs.frozen
class Window:
    """A part of the history of one object."""

    begin: float
    """When the first of these was invoked."""
    end: float
    """When the one returned that leaves no order."""
    operations: tuple[Operation, ...]
    """All that were under way in between, by invocation."""


def narrow(operations: Sequence[Operation], model: Model) -> Window:
    """Find the window of a refuted history of one object, whose operations are in the order of their invocation."""
    returns = sorted(operation.returned for operation in operations if operation.returned is not None)
    end = returns[_first(len(returns) - 1, lambda place: _is_refuted(_until(operations, returns[place]), model))]
    before = _until(operations, end)
    invocations = [operation.invoked for operation in before]
    # Counted from the end: the fewer are left out, the more is refuted.
    kept = _first(len(invocations) - 1, lambda count: _is_refuted_from(before, invocations[-1 - count], model))
    begin = invocations[-1 - kept]
    shown = (operation for operation in operations if operation.invoked <= end and _ended(operation) >= begin)
    return Window(begin, end, tuple(shown))


def _first(last: int, holds: Callable[[int], bool]) -> int:
    """Return the first place at which it holds, if it holds at all places behind that; it does at the last."""
    return bisect_left(range(last), True, key=holds)


def _until(operations: Sequence[Operation], end: float) -> list[Operation]:
    """Forget what came later: what had not returned by then might still have any outcome."""
    return [
        operation if _ended(operation) <= end else attrs.evolve(operation, returned=None, result=None)
        for operation in operations
        if operation.invoked <= end
    ]


def _from(operations: Sequence[Operation], begin: float, model: Model) -> list[Operation]:
    """Forget what came before: what had not returned by then may have taken effect, or may still do so at any time."""
    later: list[Operation] = []
    for operation in operations:
        if operation.invoked >= begin:
            later.append(operation)
        elif _ended(operation) >= begin and not model.is_read(operation):
            later.append(attrs.evolve(operation, returned=None, result=None))
    return later


def _is_refuted_from(operations: Sequence[Operation], begin: float, model: Model) -> bool:
    window = _from(operations, begin, model)
    if begin <= operations[0].invoked:
        return _is_refuted(window, model)
    beginnings = list(_beginnings(window, model))
    return bool(beginnings) and all(_is_refuted(window, one) for one in beginnings)


def _is_refuted(operations: Sequence[Operation], model: Model) -> bool:
    return Search(operations, model).run(MAX_CONFIGURATIONS).stuck is not None


def _beginnings(operations: Sequence[Operation], model: Model) -> Iterator[Model]:
    """Yield the model in every state that might explain the operations; one that explains nothing stands for all else.

    None for a model of which it is not known here: windows of its histories begin with them.
    """
    match model:
        case Register():
            for value in dict.fromkeys([*_compared(operations), _ANY]):
                yield attrs.evolve(model, initial=value)
        case Sequential():
            appended = sorted({operation.argument for operation in operations if operation.kind == "append"}, key=repr)
            seen = [operation.result for operation in operations if operation.kind == "get" and _has_ended(operation)]
            for state in dict.fromkeys([*(state for one in seen for state in _before(one, appended)), UNSEEN]):
                yield attrs.evolve(model, initial=state)
        case _:
            pass


_ANY: Final = object()
"""A value that nobody asks for."""


def _compared(operations: Sequence[Operation]) -> Iterator[Hashable]:
    """What reads saw, and what compare-and-set compared with."""
    for operation in operations:
        argument: Any = operation.argument
        if operation.kind == "cas":
            yield argument[0]
        elif operation.kind == "read" and _has_ended(operation):
            yield operation.result


def _before(seen: Any, appended: Sequence[Any]) -> Iterator[Any]:
    """Yield all that may have been there before some of these were appended, such that this was seen."""
    lengths = {len(seen)}
    for length in range(len(seen), -1, -1):
        if length in lengths:
            state = seen[:length]
            yield state
            lengths.update(length - _size(one) for one in appended if _ends_with(state, one))


def _ends_with(seen: Any, last: Any) -> bool:
    return bool(seen.endswith(last) if isinstance(seen, str) else seen[-1:] == (last,))


def _size(one: Any) -> int:
    return len(one) if isinstance(one, str) else 1


def _has_ended(operation: Operation) -> bool:
    return operation.returned is not None


def _ended(operation: Operation) -> float:
    return inf if operation.returned is None else operation.returned
