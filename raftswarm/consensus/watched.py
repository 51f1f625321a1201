"""A value that tasks can wait on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import trio

from raftswarm.errors import NotLeader

T = TypeVar("T")


class Watched(Generic[T]):
    """Holds the newest value; who waits sees it, though maybe not every one before it."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._next_change: trio.Event | None = None
        """Made for whoever asks first: most values are waited for by nobody."""
        self._ended = ""
        """Why there will be no newer value; empty while there may be."""

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake whoever waits."""
        self._value = value
        self._version += 1
        self._wake()

    def end(self, why: str) -> None:
        """Say that this was the last value, to those who wait and to those who come later."""
        self._ended = why
        self._wake()

    def _wake(self) -> None:
        if self._next_change is not None:
            self._next_change.set()
            self._next_change = None

    async def wait_until(self, holds: Callable[[T], bool]) -> T:
        """Return the first newest value for which that holds; at once if it does now.

        Raises:
            NotLeader: it does not, and there will be no newer one: the member has stopped.
        """
        while not holds(self._value):
            if self._ended:
                await trio.lowlevel.checkpoint_if_cancelled()  # What stopped the member may stop its caller too.
                raise NotLeader(self._ended)
            await self.next_change.wait()
        return self._value

    def __aiter__(self) -> AsyncIterator[T]:
        """Give the value, then each newer one until the last; who is slow skips some, and always gets the newest."""
        return _Changes(self)

    @property
    def next_change(self) -> trio.Event:
        """Set when there is another value, or will be none."""
        if self._next_change is None:
            self._next_change = trio.Event()
        return self._next_change

    @property
    def version(self) -> int:
        """Counts the values."""
        return self._version

    @property
    def has_ended(self) -> bool:
        """Tell whether this value is the last."""
        return bool(self._ended)


class _Changes(Generic[T]):
    def __init__(self, watched: Watched[T]) -> None:
        self._watched = watched
        self._seen = -1

    def __aiter__(self) -> _Changes[T]:
        return self

    async def __anext__(self) -> T:
        watched = self._watched
        await trio.lowlevel.checkpoint()
        while self._seen == watched.version:
            if watched.has_ended:
                raise StopAsyncIteration
            await watched.next_change.wait()
        self._seen = watched.version
        return watched.value
