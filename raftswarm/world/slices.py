"""Long work in slices, so that nothing holds the loop for more than 10 ms.

Whatever grows with the swarm is a generator that yields after each object it has dealt with; its result is what it
returns. Slices are counted and not timed, so equal events make equal slices, also where time is virtual. What such
work reads must be a picture taken before its first slice: objects are frozen, so a list of them stays what it was.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeAlias, TypeVar

import trio

from raftswarm.world.watchdog import current_watchdog

T = TypeVar("T")

Slices: TypeAlias = Generator[None, None, T]
"""Work that yields after each object, and returns its result."""

OBJECTS_AT_ONCE: Final = 100
"""About a millisecond's worth, so that all loops of a leader together stay below ten when each has work."""


async def run_sliced(work: Slices[T], at_once: int = OBJECTS_AT_ONCE) -> T:
    """Do the work, so many objects in one step of the loop; what is done within one does not wait at all.

    Cancelled between two slices, the rest is not done.
    """
    watchdog = current_watchdog()
    name = getattr(work, "__qualname__", "sliced work")
    while True:
        began = watchdog.now() if watchdog is not None else 0.0
        try:
            for _ in range(at_once):
                next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            if watchdog is not None:
                watchdog.note(name, watchdog.now() - began)
        await trio.lowlevel.checkpoint()


def in_one_piece(work: Slices[T]) -> T:
    """Do all of it now: for tests, and for who has no loop to hold."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
