"""Ctrl-C, and SIGTERM alike, for commands that have something to clean up."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end what is inside as SIGINT does, with KeyboardInterrupt, so that it can clean up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_until_interrupted(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`; SIGINT or SIGTERM cancels it and, once it has cleaned up, comes out as KeyboardInterrupt.

    Left to itself, Python would raise KeyboardInterrupt wherever the program happens to be, cleaning up included, and
    nurseries would wrap it in a group.
    """
    import trio

    async def main() -> T:
        result: list[T] = []
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as working:

                    async def watch() -> None:
                        async for _ in signals:
                            working.cancel()

                    nursery.start_soon(watch)
                    try:
                        result.append(await work())
                    except Exception as error:  # noqa: BLE001 - raised below, where the nursery does not wrap it
                        failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not result:
            raise KeyboardInterrupt
        return result[0]

    return trio.run(main)
