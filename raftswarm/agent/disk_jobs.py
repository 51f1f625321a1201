"""Small blocking jobs on the world's disk, awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from raftswarm.world.disk import DiskRunner

T = TypeVar("T")


async def run_on_disk(runner: DiskRunner, job: Callable[[], T]) -> T:
    """Return what `job` returns. Once submitted it is waited for: what it took would have no owner otherwise."""
    results: list[T] = []
    failures: list[BaseException] = []
    finished = trio.Event()

    def done(error: BaseException | None) -> None:
        if error is not None:
            failures.append(error)
        finished.set()

    runner.submit(lambda: results.append(job()), done)
    with trio.CancelScope(shield=True):
        await finished.wait()
    if failures:
        raise failures[0]
    return results[0]
