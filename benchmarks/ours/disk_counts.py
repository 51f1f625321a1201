"""Counts what this process asks of the disk, at the system calls: what is counted was asked of the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs


@attrs.define
class DiskCounts:
    """Since they were begun."""

    syncs: int = 0
    written_bytes: int = 0


def count_disk_calls() -> DiskCounts:
    """Count from now on, for as long as the process lives."""
    counts = DiskCounts()

    def counting_sync(call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            call(descriptor)
            counts.syncs += 1

        return sync

    write = os.pwritev

    def counting_write(*arguments: Any) -> int:
        written = write(*arguments)
        counts.written_bytes += written
        return written

    os.fdatasync = counting_sync(os.fdatasync)
    os.pwritev = counting_write
    return counts
