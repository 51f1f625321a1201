"""The newest changes in one ring; a watch is a place in it.

So a change is kept once however many watch, nothing grows with a slow watcher, and a watch can begin at any command
that the ring still reaches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import trio

from raftswarm.objects.records import Object
from raftswarm.store.contracts import Change, WatchOverflow
from raftswarm.store.tables import kind_of

RING_SIZE: Final = 10_000


class ChangeRing:
    """What has changed lately."""

    def __init__(self, size: int = RING_SIZE) -> None:
        self._ring: deque[Change] = deque(maxlen=size)
        self._watches: dict[TableWatch, None] = {}
        self.count = 0
        """How many changes there ever were, the forgotten ones included."""
        self.forgotten_upto = 0
        """The newest command of which changes have been forgotten."""
        self.newest = 0
        """The newest command that changed anything."""

    def add(self, changes: Iterable[Change]) -> None:
        """Append changes, in order, and wake whoever waits for such."""
        tables: dict[type[Object], None] = {}
        for change in changes:
            if len(self._ring) == self._ring.maxlen:
                self.forgotten_upto = max(self.forgotten_upto, self._ring[0].command_number)
            self._ring.append(change)
            self.count += 1
            self.newest = change.command_number
            tables[kind_of(change.object)] = None
        for watch in self._watches:
            watch.notice(tables)

    def leap(self, changes: Iterable[Change] | None, newest: int) -> None:
        """Append what a snapshot changed. Who watches sees the difference; from in between nobody can begin.

        With None for the difference, everybody has missed something.
        """
        if changes is None:
            self._ring.clear()
            self.count += 1
            for watch in self._watches:
                watch.notice(watch.tables)
        else:
            self.add(changes)
        self.forgotten_upto = self.newest = newest

    def since(self, place: int) -> Iterator[Change] | None:
        """The changes from that place on; None if some are forgotten."""
        known = len(self._ring)
        skipped = place - (self.count - known)
        return islice(self._ring, skipped, known) if skipped >= 0 else None

    def place_after(self, command_number: int) -> int | None:
        """The place of the first change after that command; None if it is forgotten."""
        if command_number < self.forgotten_upto:
            return None
        later = 0
        for change in reversed(self._ring):
            if change.command_number <= command_number:
                break
            later += 1
        return self.count - later

    @contextmanager
    def watch(self, tables: Sequence[type[Object]], after: int | None) -> Iterator[TableWatch]:
        """Watch some tables, or all, from now or from a command on."""
        watch = TableWatch(self, frozenset(tables), after)
        self._watches[watch] = None
        try:
            yield watch
        finally:
            del self._watches[watch]


class TableWatch:
    """The `Watch` over a ring."""

    def __init__(self, ring: ChangeRing, tables: frozenset[type[Object]], after: int | None) -> None:
        self._ring = ring
        self.tables = tables
        """Empty for all."""
        self._place: int | None = ring.count if after is None else ring.place_after(after)
        """None: what it asked for is forgotten."""
        self._waiting = trio.lowlevel.ParkingLot()
        self.cursor = ring.newest if after is None else after
        """The command up to which all changes were handed out."""

    async def next(self) -> Sequence[Change]:
        """Wait for changes; return all that wait, at least one; WatchOverflow if some were missed."""
        await trio.lowlevel.checkpoint()
        while True:
            changes = self._take()
            if changes:
                return changes
            await self._waiting.park()

    def notice(self, tables: Iterable[type[Object]]) -> None:
        """Wake up if one of these tables is watched."""
        if not self.tables or any(table in self.tables for table in tables):
            self._waiting.unpark_all()

    def _take(self) -> list[Change]:
        missed = self._ring.since(self._place) if self._place is not None else None
        self._place, self.cursor = self._ring.count, self._ring.newest
        if missed is None:
            raise WatchOverflow("too many changes since the last look: read the tables anew")
        return [change for change in missed if not self.tables or kind_of(change.object) in self.tables]
