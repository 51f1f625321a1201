"""A value that tasks can wait on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watched(Generic[T]):
    """Holds the newest value; who waits sees it, though maybe not every one before it."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = trio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake whoever waits."""
        self._value = value
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_until(self, holds: Callable[[T], bool]) -> T:
        """Return the first newest value for which that holds; at once if it does now."""
        while not holds(self._value):
            await self._changed.wait()
        return self._value

    def __aiter__(self) -> AsyncIterator[T]:
        """Give the value, then each newer one; who is slow skips some, and always gets the newest."""
        return _Changes(self)

    @property
    def next_change(self) -> trio.Event:
        """Set when there is another value."""
        return self._changed


class _Changes(Generic[T]):
    def __init__(self, watched: Watched[T]) -> None:
        self._watched = watched
        self._due: trio.Event | None = None

    def __aiter__(self) -> _Changes[T]:
        return self

    async def __anext__(self) -> T:
        if self._due is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._due.wait()
        self._due = self._watched.next_change
        return self._watched.value
