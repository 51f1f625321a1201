"""Counts what this process asks of the disk, at the system calls: what is counted was asked of the kernel."""

from __future__ import annotations

import os
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

    sync, write = os.fdatasync, os.pwritev

    def counting_sync(fd: Any) -> None:
        sync(fd)
        counts.syncs += 1

    def counting_write(*arguments: Any) -> int:
        written = write(*arguments)
        counts.written_bytes += written
        return written

    os.fdatasync = counting_sync
    os.pwritev = counting_write
    return counts
