"""Tasks that serve a block of code: they end with it, and its error comes out as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_helpers() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is cancelled when the block ends, and wraps no error of the block in a group.

    KeyboardInterrupt and SystemExit come out as they are too, wherever they struck: they end everything anyway.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:  # noqa: BLE001 - raised below, where the nursery does not see it
                failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        end = _find_end(group)
        if end is None:
            raise
        failure = end
    if failure is not None:
        raise failure


def _find_end(error: BaseException) -> BaseException | None:
    """Find what ends the whole program in a group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_find_end, error.exceptions)), None)
    return error if isinstance(error, KeyboardInterrupt | SystemExit) else None


def require_trio() -> None:
    """RuntimeError in a program of another kind: what it would meet in trio's depths says nothing."""
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(
            "this runs on trio, so call it within trio.run; for other programs there are raftswarm.aio (asyncio) and "
            "raftswarm.blocking (no loop at all)"
        )
