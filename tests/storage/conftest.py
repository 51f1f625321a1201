"""A disk in memory that loses what was not synced, and a member's writes to put on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import pytest

from raftswarm.raft.log_entry import Entry, EntryKind, HardState
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.world.disk import File

SECTOR = 512


class Crash(BaseException):
    """The machine stops."""


@attrs.define(eq=False)
class _Node:
    """A file's content: what readers see, what is surely on the disk, and the sectors written since."""

    seen: bytearray = attrs.field(factory=bytearray)
    synced: bytes = b""
    dirty: dict[int, None] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _MemoryFile:
    disk: MemoryDisk
    node: _Node

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.node.seen[offset : offset + size])

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        data = b"".join(buffers)
        end = offset + len(data)
        seen = self.node.seen
        if len(seen) < end:
            seen.extend(bytes(end - len(seen)))
        seen[offset:end] = data
        self.node.dirty |= dict.fromkeys(range(offset // SECTOR, -(-end // SECTOR)))
        self.disk.called("write")

    def sync(self) -> None:
        self.disk.called("sync")
        self.node.synced = bytes(self.node.seen)
        self.node.dirty.clear()

    def size(self) -> int:
        return len(self.node.seen)

    def truncate(self, size: int) -> None:
        seen = self.node.seen
        old = len(seen)
        del seen[size:]
        seen.extend(bytes(size - len(seen)))
        self.node.dirty |= dict.fromkeys(range(min(old, size) // SECTOR, -(-max(old, size) // SECTOR)))
        self.disk.called("truncate")

    def close(self) -> None:
        self.disk.locks = {path: file for path, file in self.disk.locks.items() if file is not self}


@attrs.define(eq=False)
class MemoryDisk:
    """Names and contents, each as seen and as synced. `crash_at` stops the machine at that call that changes something.

    `fail_at` makes that call fail instead, as a full or broken disk does.
    """

    crash_at: int | None = None
    fail_at: int | None = None
    failure: OSError = attrs.field(factory=lambda: OSError(28, "No space left on device"))
    calls: int = 0
    names: dict[str, _Node] = attrs.field(factory=dict)
    synced_names: dict[str, _Node] = attrs.field(factory=dict)
    directories: set[str] = attrs.field(factory=set)
    locks: dict[str, _MemoryFile] = attrs.field(factory=dict)
    directory_syncs: list[str] = attrs.field(factory=list)

    def called(self, what: str) -> None:
        self.calls += 1
        if self.calls == self.crash_at:
            raise Crash(what)
        if self.calls == self.fail_at:
            raise self.failure

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> File:  # noqa: ARG002 - the protocol's
        if path not in self.names:
            if not create:
                raise FileNotFoundError(2, "No such file or directory", path)
            assert path.rpartition("/")[0] in self.directories
            self.names[path] = _Node()
            self.called("create")
        return _MemoryFile(self, self.names[path])

    def exists(self, path: str) -> bool:
        return path in self.names or path in self.directories

    def list(self, path: str) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in self.names if name.rpartition("/")[0] == path)

    def make_directory(self, path: str, mode: int = 0o700) -> None:  # noqa: ARG002 - the protocol's
        while path:
            self.directories.add(path)
            path = path.rpartition("/")[0]

    def rename(self, old: str, new: str) -> None:
        self.names[new] = self.names.pop(old)
        self.called("rename")

    def remove(self, path: str) -> None:
        if path not in self.names:
            raise FileNotFoundError(2, "No such file or directory", path)
        del self.names[path]
        self.called("remove")

    def sync_directory(self, path: str) -> None:
        self.called("sync_directory")
        self.directory_syncs.append(path)
        inside = path + "/"
        self.synced_names = {name: node for name, node in self.synced_names.items() if not name.startswith(inside)}
        self.synced_names |= {name: node for name, node in self.names.items() if name.startswith(inside)}

    def lock(self, path: str) -> File:
        if path in self.locks:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.names.setdefault(path, _Node())
        self.locks[path] = _MemoryFile(self, self.names[path])
        return self.locks[path]

    def after_crash(self, keep: Callable[[object], bool], tear: int = 0) -> MemoryDisk:
        """Return the disk a restarted machine finds; `keep` decides about every name and sector not synced.

        With `tear`, only that many bytes of a kept sector arrived.
        """
        names: dict[str, _Node] = {}
        for name in sorted({*self.names, *self.synced_names}):
            seen, synced = self.names.get(name), self.synced_names.get(name)
            node = seen if seen is synced or keep(name) else synced
            if node is not None:
                names[name] = node
        found = MemoryDisk(directories=set(self.directories))
        for name, node in names.items():
            content = _after_crash(node, partial(_keep_sector, keep, name), tear)
            found.names[name] = _Node(bytearray(content), content)
        found.synced_names = dict(found.names)
        return found

    def after_kill(self) -> MemoryDisk:
        """Return the disk as the next process finds it: nothing is lost, and nothing was synced by that."""
        self.crash_at = None
        self.locks.clear()
        return self

    def copy(self) -> MemoryDisk:
        """Return what a machine that is stopped in peace leaves."""
        return self.after_crash(lambda _: True)

    def image(self) -> dict[str, bytes]:
        """Return every file's content."""
        return {name: bytes(node.seen) for name, node in sorted(self.names.items())}


def _keep_sector(keep: Callable[[object], bool], name: str, sector: int) -> bool:
    return keep((name, sector))


def _after_crash(node: _Node, keep: Callable[[int], bool], tear: int) -> bytes:
    if not node.dirty:
        return bytes(node.seen)
    size = len(node.seen) if keep(-1) else len(node.synced)
    content = bytearray(node.synced[:size].ljust(size, b"\0"))
    for sector in node.dirty:
        begin, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
        if begin < size and keep(sector):
            piece = bytes(node.seen[begin : min(end, begin + tear) if tear else end])
            content[begin : begin + len(piece)] = piece
    return bytes(content)


@attrs.define
class SeededEntropy:
    """The same bytes for the same seed."""

    seed: str = "seed"
    drawn: int = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(f"{self.seed} {self.drawn}".encode()).digest(count)


@pytest.fixture
def crash() -> type[Crash]:
    """What `crash_at` raises."""
    return Crash


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy()


@pytest.fixture
def keys(disk: MemoryDisk, entropy: SeededEntropy) -> KeyRing:
    return KeyRing.create(disk, "state/certificates", entropy)


@pytest.fixture
def make_write() -> Callable[..., Write]:
    """Build a write with one entry per given index."""

    def make(
        *indexes: int, term: int = 1, hard_state: HardState | None = None, truncate_after: int | None = None
    ) -> Write:
        return Write(
            number=1,
            hard_state=hard_state,
            truncate_after=truncate_after,
            entries=tuple(
                Entry(
                    index=index,
                    term=term,
                    kind=EntryKind.COMMANDS,
                    first_command=index,
                    command_count=1,
                    data=b"entry %d of term %d" % (index, term),
                )
                for index in indexes
            ),
            last_index=indexes[-1] if indexes else truncate_after or 0,
            last_term=term,
        )

    return make
