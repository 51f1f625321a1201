"""A disk to which things happen: slow syncs, and no room. What they are is asked anew at every call.

A full disk takes no write at all, not even over what a file holds already, as with file systems that never write in
place.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence

from raftswarm.errors import DiskFailed
from raftswarm.world.conditions import MachineConditions
from raftswarm.world.disk import Disk, File

Look = Callable[[], MachineConditions]
"""How the machine is right now; called from the disk's thread too."""


class ConditionedFile:
    """An open file of a `ConditionedDisk`."""

    def __init__(self, file: File, path: str, look: Look) -> None:
        self._file = file
        self._path = path
        self._look = look

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""
        return self._file.read(offset, size)

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write all the buffers one after another from `offset`; DiskFailed if the disk is full."""
        self._require_room("write")
        self._file.write(offset, buffers)

    def sync(self) -> None:
        """Make data and size durable, in its own time."""
        _be_slow(self._look)
        self._file.sync()

    def size(self) -> int:
        """Length in bytes."""
        return self._file.size()

    def truncate(self, size: int) -> None:
        """Cut or zero-extend; DiskFailed if it would grow and the disk is full."""
        if size > self._file.size():
            self._require_room("truncate")
        self._file.truncate(size)

    def close(self) -> None:
        """Close; idempotent; does not sync."""
        self._file.close()

    def _require_room(self, verb: str) -> None:
        if self._look().disk_full:
            raise DiskFailed(f"could not {verb} {self._path}: {os.strerror(errno.ENOSPC)}")


class ConditionedDisk:
    """Another disk, under conditions."""

    def __init__(self, disk: Disk, look: Look) -> None:
        self._disk = disk
        self._look = look

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> File:
        """Open for reading and writing; FileNotFoundError without `create`."""
        return ConditionedFile(self._disk.open(path, create=create, mode=mode), path, self._look)

    def exists(self, path: str) -> bool:
        """Tell whether the path names a file or directory."""
        return self._disk.exists(path)

    def list(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when there is none."""
        return self._disk.list(path)

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create it and its parents; nothing if it is there."""
        self._disk.make_directory(path, mode)

    def rename(self, old: str, new: str) -> None:
        """Atomically give `old` the name `new`, replacing what had it."""
        self._disk.rename(old, new)

    def remove(self, path: str) -> None:
        """Unlink a file; FileNotFoundError if there is none."""
        self._disk.remove(path)

    def sync_directory(self, path: str) -> None:
        """Make the names in that directory durable, in its own time."""
        _be_slow(self._look)
        self._disk.sync_directory(path)

    def lock(self, path: str) -> File:
        """Create and lock a file for this process's life; BlockingIOError if another holds it."""
        return self._disk.lock(path)


def _be_slow(look: Look) -> None:
    """Wait where a slow disk would hold its caller up: in the thread that asked."""
    if seconds := look().sync_seconds:
        time.sleep(seconds)
