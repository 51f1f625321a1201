"""Tasks that serve a block of code: they end with it, and its error comes out as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_helpers() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is cancelled when the block ends, and wraps no error of the block in a group."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:  # noqa: BLE001 - raised below, where the nursery does not see it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
