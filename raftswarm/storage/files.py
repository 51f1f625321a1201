"""Files in a directory of ours: where they are, how they are sealed, and replacing one in one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import attrs

from raftswarm.errors import DiskFailed, DiskFull
from raftswarm.raft.rules import NamedRule, RuleSink, ignore_rule
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk, disk_error

TEMPORARY_SUFFIX: Final = ".part"
"""Names that end so were being written when the process stopped; nothing refers to them."""


@attrs.frozen
class Place:
    """Where sealed files are kept, and with what."""

    disk: Disk
    directory: str
    data_key: bytes
    """Of all that is written."""
    entropy: Entropy
    earlier_keys: tuple[bytes, ...] = ()
    """Of what was written before, and is still there: while there are any, their files are removed, not used again."""
    epoch: int = 0
    """Written into every header."""
    named: RuleSink = ignore_rule
    """Hears by which rule things happen there."""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All that may be needed to read what is there."""
        return (self.data_key, *self.earlier_keys)

    def path(self, name: str) -> str:
        """Return where the file of that name is."""
        return f"{self.directory}/{name}"

    def because(self, rule: NamedRule, **facts: object) -> None:
        """Name a rule by which something happens; none of these is for every write."""
        self.named(rule, facts)


def make_directory(disk: Disk, path: str) -> None:
    """Make it and its parents, durable on return.

    The last name is synced even when it was there: an earlier run may have stopped between the two steps.
    """
    made = [path]
    while (parent := _parent(made[-1])) not in {".", "/"} and not disk.exists(parent):
        made.append(parent)
    disk.make_directory(path)
    for name in reversed(made):
        with suppress(PermissionError):  # A parent we may not read is not one we made.
            disk.sync_directory(_parent(name))


def read_file(disk: Disk, path: str) -> bytes:
    """Return all of it; FileNotFoundError if there is none."""
    file = disk.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def replace_file(disk: Disk, directory: str, name: str, content: bytes, mode: int = 0o600) -> None:
    """Write aside, sync, rename, sync the directory: a crash at any step leaves the old file or the new one."""
    path = f"{directory}/{name}"
    aside = path + TEMPORARY_SUFFIX
    file = disk.open(aside, create=True, mode=mode)
    try:
        file.truncate(0)
        file.write(0, [content])
        file.sync()
    finally:
        file.close()
    disk.rename(aside, path)
    disk.sync_directory(directory)


def _parent(path: str) -> str:
    parent, slash, _ = path.rstrip("/").rpartition("/")
    return parent or slash or "."


def remove_temporary(disk: Disk, directory: str) -> list[str]:
    """Remove what an earlier life was writing when it stopped, and return its names."""
    names = [name for name in disk.list(directory) if name.endswith(TEMPORARY_SUFFIX)]
    for name in names:
        disk.remove(f"{directory}/{name}")
    return names


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn the operating system's errors into DiskFailed or DiskFull, which say what failed while doing what."""
    try:
        yield
    except OSError as error:
        raise disk_error(doing, error) from error


@contextmanager
def once_only(doing: str) -> Iterator[None]:
    """Let a want of room be a failure like any other: of what a failed sync left behind, nothing may be tried again."""
    try:
        with disk_errors(doing):
            yield
    except DiskFull as full:
        raise DiskFailed(f"{full}, then restart this member") from full
