"""The tasks behind one published port, taken in turn; those that refused lately come last."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Target:
    """Where a task listens."""

    host: str
    port: int


class Backends:
    """Decides whom a connection should try, and remembers who refused."""

    def __init__(self) -> None:
        self._targets: tuple[Target, ...] = ()
        self._next = 0
        self._dead_until: dict[Target, float] = {}

    def replace(self, targets: Sequence[Target]) -> None:
        """Take these from now on."""
        self._targets = tuple(targets)
        self._dead_until = {target: until for target, until in self._dead_until.items() if target in targets}

    def in_turn(self, now: float) -> list[Target]:
        """Return all, in the order in which a connection should try them; the next one begins with another."""
        if not self._targets:
            return []
        start = self._next % len(self._targets)
        self._next = start + 1
        order = self._targets[start:] + self._targets[:start]
        return sorted(order, key=lambda target: self._dead_until.get(target, now) > now)

    def mark_dead(self, target: Target, until: float) -> None:
        """It refused: until then others are tried first."""
        if target in self._targets:
            self._dead_until[target] = until
