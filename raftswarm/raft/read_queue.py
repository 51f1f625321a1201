"""Reads that wait at a leader for a quorum to confirm that it still leads (6.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs


@attrs.frozen
class ReadRound:
    """Reads that one round of heartbeats confirms."""

    number: int
    index: int
    """The commit index when the round began."""
    tokens: tuple[int, ...]


@attrs.define(eq=False)
class ReadQueue:
    """First the reads of no round yet, then the rounds under way, oldest first."""

    newest_round: int = 0
    count: int = 0
    _waiting: list[int] = attrs.field(factory=list)
    _rounds: deque[ReadRound] = attrs.field(factory=deque)

    @property
    def has_waiting(self) -> bool:
        """Tell whether there are reads that belong to no round yet."""
        return bool(self._waiting)

    def add(self, token: int) -> None:
        """Let a read wait for the next round."""
        self._waiting.append(token)
        self.count += 1

    def begin_round(self, index: int) -> None:
        """Give what waits to a new round."""
        self.newest_round += 1
        self._rounds.append(ReadRound(self.newest_round, index, tuple(self._waiting)))
        self._waiting.clear()

    def take_confirmed(self, number: int) -> Iterator[ReadRound]:
        """Take out the rounds up to that number."""
        while self._rounds and self._rounds[0].number <= number:
            confirmed = self._rounds.popleft()
            self.count -= len(confirmed.tokens)
            yield confirmed

    def take_all(self) -> list[int]:
        """Take out every read, oldest first."""
        tokens = [token for round_ in self._rounds for token in round_.tokens] + self._waiting
        self._rounds.clear()
        self._waiting.clear()
        self.count = 0
        return tokens
