"""Files as storage sees them: a small blocking protocol; who runs it belongs to the world.

Paths are POSIX strings relative to nothing: whatever the world's root is, storage joins names with ``/``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from raftswarm.errors import DiskFailed, DiskFull

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system calls a full disk, or a used up quota."""


class File(Protocol):
    """An open file. What is written counts only after `sync`."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""
        ...

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write all the buffers one after another from `offset` (pwritev)."""
        ...

    def sync(self) -> None:
        """Make data and size durable (fdatasync). A failure is fatal: `DiskFailed`."""
        ...

    def size(self) -> int:
        """Length in bytes."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or zero-extend."""
        ...

    def close(self) -> None:
        """Close; idempotent; does not sync."""
        ...


class Disk(Protocol):
    """A directory tree. Names appear and disappear for good only after `sync_directory` of their directory."""

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> File:
        """Open for reading and writing; FileNotFoundError without `create`."""
        ...

    def exists(self, path: str) -> bool:
        """Tell whether the path names a file or directory."""
        ...

    def list(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when there is none."""
        ...

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create it and its parents; nothing if it is there."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomically give `old` the name `new`, replacing what had it."""
        ...

    def remove(self, path: str) -> None:
        """Unlink a file; FileNotFoundError if there is none."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in that directory durable."""
        ...

    def lock(self, path: str) -> File:
        """Create and lock a file for this process's life; BlockingIOError if another holds it."""
        ...


class DiskRunner(Protocol):
    """Runs blocking jobs in order, one at a time, off the loop; `done` is called back on the loop."""

    def submit(self, job: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        """Run `job` after all earlier ones; then `done(None)`, or `done(error)` if it raised."""
        ...


def disk_error(what: str, error: OSError) -> DiskFailed:
    """Put an error of the operating system into a sentence, after what could not be done; DiskFull for want of room."""
    reason = f"{what}: {error.strerror or error}"
    return DiskFull(f"{reason}: make room on that disk") if error.errno in NO_ROOM else DiskFailed(reason)
