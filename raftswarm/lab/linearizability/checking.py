"""The judgement over a history, object by object."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import Enum

import attrs

from raftswarm.errors import InvalidSpec
from raftswarm.lab.linearizability.models import MODELS, Model
from raftswarm.lab.linearizability.narrowing import Window, narrow
from raftswarm.lab.linearizability.operations import Operation, by_key
from raftswarm.lab.linearizability.search import Search, Stuck

MAX_CONFIGURATIONS = 1_000_000
"""What the memory of one object's search may grow to: some hundred bytes each."""


class Outcome(Enum):
    """What a check found."""

    LINEARIZABLE = "linearizable"
    REFUTED = "not linearizable"
    UNDECIDED = "undecided"
    """There was more to search than allowed."""


@attrs.frozen
class Verdict:
    """What a check found, and why: `str()` of it is for a person to read."""

    outcome: Outcome
    operations: int
    configurations: int
    """Visited by the search."""
    key: Hashable = None
    """The object that is at fault, or on which the search gave up."""
    stuck: Stuck | None = None
    """If refuted: the longest order there is, and what does not fit behind it."""
    window: Window | None = None
    """If refuted: the smallest part of the history that shows it."""

    @property
    def is_linearizable(self) -> bool:
        """Tell whether an order was found. If not, that need not mean there is none: see `outcome`."""
        return self.outcome is Outcome.LINEARIZABLE

    def __str__(self) -> str:
        """Render the verdict with its witness."""
        lines = [f"{self.outcome.value}: {self.operations} operations, {self.configurations} configurations searched"]
        if self.key is not None:
            lines.append(f"object {self.key!r}")
        if self.window is not None:
            lines.extend(_render_window(self.window))
        if self.stuck is not None:
            lines.extend(_render(self.stuck))
        return "\n".join(lines)


SHOWN_OPERATIONS = 12
SHOWN_OF_WINDOW = 30


def check(operations: Iterable[Operation], model: Model, *, limit: int = MAX_CONFIGURATIONS) -> Verdict:
    """Tell whether the history of some objects, each as `model`, is linearizable.

    Args:
        operations: in any order.
        model: what each object does by itself; see `MODELS`.
        limit: how many configurations to visit for one object, before the outcome is `UNDECIDED`.

    Raises:
        InvalidSpec: an operation that the model does not have, or that returned before it was invoked.
    """
    parts = by_key(operations)
    for operation in (operation for part in parts.values() for operation in part):
        _validate(operation, model)
    total = sum(map(len, parts.values()))
    configurations = 0
    gave_up: Verdict | None = None
    for key, part in sorted(parts.items(), key=_size):
        found = Search(part, model).run(limit)
        configurations += found.configurations
        if found.stuck is not None:
            return Verdict(Outcome.REFUTED, total, configurations, key, found.stuck, narrow(part, model))
        if found.order is None:
            gave_up = Verdict(Outcome.UNDECIDED, total, configurations, key)
    return gave_up or Verdict(Outcome.LINEARIZABLE, total, configurations)


def _size(part: tuple[Hashable, list[Operation]]) -> int:
    return len(part[1])


def _validate(operation: Operation, model: Model) -> None:
    if operation.kind not in model.kinds:
        raise InvalidSpec(f"{operation}: the model knows {', '.join(sorted(model.kinds))}")
    if operation.returned is not None and operation.returned < operation.invoked:
        raise InvalidSpec(f"{operation}: it returned before it was invoked")


def model_of(operations: Iterable[Operation]) -> Model:
    """Return the model that has all these kinds of operations; InvalidSpec if there is none."""
    kinds = {operation.kind for operation in operations}
    for model in MODELS.values():
        if kinds <= model.kinds:
            return model
    raise InvalidSpec(f"no model has all of {', '.join(sorted(kinds))}; models: {', '.join(MODELS)}")


def _render_window(window: Window) -> list[str]:
    """Show what was under way in it; of many, the last."""
    hidden = max(0, len(window.operations) - SHOWN_OF_WINDOW)
    count = f"{len(window.operations)} operations" + f", here the last {SHOWN_OF_WINDOW}" * bool(hidden)
    lines = [f"there is no order of what was under way from {window.begin:g} to {window.end:g}: {count}"]
    lines.extend(f"    {operation}" for operation in window.operations[hidden:])
    return lines


def _render(stuck: Stuck) -> list[str]:
    """Show the end of the longest order, and what does not fit behind it."""
    hidden = max(0, len(stuck.order) - SHOWN_OPERATIONS)
    lines = [
        f"the longest order places {len(stuck.order)} of them" + f", here the last {SHOWN_OPERATIONS}" * bool(hidden)
    ]
    lines.extend(f"    {operation}" for operation in stuck.order[hidden:])
    lines.append(f"then the state is {stuck.state!r}, and there is no place for")
    lines.append(f"    {stuck.next_to_return}")
    if stuck.others:
        lines.append("nor do these help, which may come before it")
        lines.extend(f"    {operation}" for operation in stuck.others[:SHOWN_OPERATIONS])
        if len(stuck.others) > SHOWN_OPERATIONS:
            lines.append(f"    and {len(stuck.others) - SHOWN_OPERATIONS} more")
    return lines
