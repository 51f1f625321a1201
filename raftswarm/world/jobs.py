"""Awaiting a disk job, for code that is trio anyway; a replica, which is not, is called back instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from raftswarm.world.disk import DiskRunner

T = TypeVar("T")


async def run_job(runner: DiskRunner, job: Callable[[], T]) -> T:
    """Run a job after all earlier ones; return or raise what it does. Cancelled, it runs all the same."""
    results: list[T] = []
    errors: list[BaseException] = []
    finished = trio.Event()

    def done(error: BaseException | None) -> None:
        if error is not None:
            errors.append(error)
        finished.set()

    runner.submit(lambda: results.append(job()), done)
    await finished.wait()
    if errors:
        raise errors[0]
    return results[0]
