"""Histories: who asked for what, when, and what came of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import attrs


@attrs.frozen(kw_only=True)
class Operation:
    """One call of one client. Of two operations the later one was invoked after the earlier one had returned.

    One of unknown outcome may take effect at any time after its invocation, or never. A call that is known to have had
    no effect is not part of a history.
    """

    client: Hashable
    kind: str
    """One of its model's."""
    argument: Hashable = None
    result: Hashable = None
    key: Hashable = None
    """Which object it is about; each object is judged alone, since linearizability is local."""
    invoked: float
    returned: float | None = None
    """On the same scale, such as the place among the history's events; None if the outcome is not known."""

    def __str__(self) -> str:
        """Render as in a history that a person reads."""
        argument = "" if self.argument is None else f" {self.argument!r}"
        outcome = "unknown" if self.returned is None else repr(self.result)
        end = "?" if self.returned is None else f"{self.returned:g}"
        return f"client {self.client}: {self.kind}{argument} -> {outcome}  [{self.invoked:g}, {end}]"


def by_key(operations: Iterable[Operation]) -> dict[Hashable, list[Operation]]:
    """Divide a history into those of its objects, each in the order of invocation."""
    parts: dict[Hashable, list[Operation]] = {}
    for operation in sorted(operations, key=_invoked):
        parts.setdefault(operation.key, []).append(operation)
    return parts


def _invoked(operation: Operation) -> float:
    return operation.invoked
