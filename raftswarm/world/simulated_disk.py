"""A disk in memory that forgets as real ones do.

What a program wrote and did not sync is in the page cache: it survives the program's death, and of what it held when
the power fails each 512-byte sector is kept, lost or torn. Names of files live by the same rule: until their directory
is synced, the last of them may be missing.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import lru_cache
from random import Random

import attrs

SECTOR_BYTES = 512
MAX_PIECES = 64
"""A long unsynced write is torn into at most so many pieces, to keep crashes cheap."""


class PowerLost(BaseException):
    """The process that did this disk call no longer exists; nothing may catch this but the world."""


@attrs.frozen
class _Written:
    offset: int
    data: bytes


@attrs.frozen
class _Resized:
    size: int


@attrs.define(eq=False)
class _Contents:
    """A file: what programs read, what is durable, and how the one came from the other."""

    cached: bytearray = attrs.Factory(bytearray)
    durable: bytearray = attrs.Factory(bytearray)
    unsynced: list[_Written | _Resized] = attrs.Factory(list)

    def change(self, change: _Written | _Resized) -> None:
        _make(change, self.cached)
        self.unsynced.append(change)

    def sync(self) -> None:
        for change in self.unsynced:
            _make(change, self.durable)
        self.unsynced.clear()

    def forget_unsynced(self) -> None:
        """Take what is unsynced for clean: no sync will write it any more."""
        self.unsynced.clear()

    def lose_power(self, chance: Random) -> None:
        match chance.randrange(4):
            case 0:
                pass  # Nothing of it had reached the disk.
            case 1:
                self.sync()  # All of it had.
            case _:
                self._tear(chance)
        self.unsynced.clear()
        self.cached = bytearray(self.durable)

    def _tear(self, chance: Random) -> None:
        """Keep some sectors in the state that some prefix of the writes had left them in."""
        lost: set[int] = set()
        for change in self.unsynced:
            if isinstance(change, _Resized):
                if chance.random() < 0.5:
                    _make(change, self.durable)
                continue
            for offset, piece in _pieces(change):
                sector = offset // SECTOR_BYTES
                fate = chance.random()
                if fate < 0.45 and sector not in lost:
                    _make(_Written(offset, piece), self.durable)
                    continue
                if fate < 0.6 and sector not in lost:
                    _make(_Written(offset, piece[: chance.randrange(len(piece))]), self.durable)
                lost.add(sector)


def _make(change: _Written | _Resized, content: bytearray) -> None:
    match change:
        case _Written(offset, data):
            if offset > len(content):
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data
        case _Resized(size):
            if size < len(content):
                del content[size:]
            else:
                content.extend(bytes(size - len(content)))


def _pieces(written: _Written) -> list[tuple[int, bytes]]:
    """Cut at sector boundaries."""
    data = written.data
    sectors = len(data) // SECTOR_BYTES + 1
    step = SECTOR_BYTES * max(1, sectors // MAX_PIECES)
    pieces = []
    start = 0
    while start < len(data):
        end = start + step - (written.offset + start) % SECTOR_BYTES
        pieces.append((written.offset + start, data[start:end]))
        start = end
    return pieces


@attrs.frozen
class _Linked:
    name: str
    node: _Directory | _Contents


@attrs.frozen
class _Unlinked:
    name: str


@attrs.frozen
class _Renamed:
    old: str
    new: str


@attrs.define(eq=False)
class _Directory:
    """Names, as programs see them and as they are durable; a file system's journal keeps their changes in order."""

    cached: dict[str, _Directory | _Contents] = attrs.Factory(dict)
    durable: dict[str, _Directory | _Contents] = attrs.Factory(dict)
    unsynced: list[_Linked | _Unlinked | _Renamed] = attrs.Factory(list)

    def change(self, change: _Linked | _Unlinked | _Renamed) -> None:
        _rename(change, self.cached)
        self.unsynced.append(change)

    def sync(self) -> None:
        for change in self.unsynced:
            _rename(change, self.durable)
        self.unsynced.clear()

    def lose_power(self, chance: Random) -> None:
        for change in self.unsynced[: chance.randint(0, len(self.unsynced))]:
            _rename(change, self.durable)
        self.unsynced.clear()
        self.cached = dict(self.durable)
        for node in self.cached.values():
            node.lose_power(chance)


def _rename(change: _Linked | _Unlinked | _Renamed, names: dict[str, _Directory | _Contents]) -> None:
    match change:
        case _Linked(name, node):
            names[name] = node
        case _Unlinked(name):
            del names[name]
        case _Renamed(old, new):
            names[new] = names.pop(old)


class FailingCalls(Enum):
    """Which calls of a failing disk fail."""

    WRITES = "write"
    """Those that change or sync something."""
    SYNCS = "sync"
    READS = "read"


@attrs.frozen
class _Failure:
    error: OSError
    calls: FailingCalls
    below: str
    is_lasting: bool
    """It outlives the process that met it."""


class SimulatedDisk:
    """One machine's disk; outlives the processes that use it."""

    def __init__(self) -> None:
        self._root = _Directory()
        self._locked: set[str] = set()
        self._process = 0
        """Which process may use it: files opened by an earlier one are dead."""
        self._calls_left: int | None = None
        self._failure: _Failure | None = None
        self._lies_on_sync = False
        self._misdirected: tuple[str, float] | None = None
        self.watcher: Callable[[str, str], object] | None = None
        """Hears of each call that changes or syncs something, its kind and path, before anything is done."""

    # What befalls it.

    def lose_process(self) -> None:
        """The process died: its files and locks are gone, and what it wrote is in the page cache still."""
        self._process += 1
        self._locked.clear()
        self._calls_left = None
        if self._failure is not None and not self._failure.is_lasting:
            self._failure = None

    def lose_power(self, chance: Random) -> None:
        """The machine died: what was not synced is kept, lost or torn."""
        self.lose_process()
        self._root.lose_power(chance)

    def cut_after(self, calls: int) -> None:
        """Let the process die at the disk call after so many more; `lose_process` ends that."""
        self._calls_left = calls

    def fail_from_now(
        self,
        failure: OSError,
        below: str = "",
        *,
        calls: FailingCalls = FailingCalls.WRITES,
        is_lasting: bool = False,
    ) -> None:
        """Fail such calls of this process, or of its successors too: all of them, or those of such a path."""
        self._failure = _Failure(failure, calls, below, is_lasting)

    def end_failure(self) -> None:
        """Work again."""
        self._failure = None
        self._lies_on_sync = False
        self._misdirected = None

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing waits to befall the process that uses it."""
        return self._failure is None and self._misdirected is None and not self._lies_on_sync

    def lie_on_sync(self) -> None:
        """Fail the next sync, and take what it should have written for clean from then on, as some kernels do."""
        self._lies_on_sync = True

    def misdirect(self, below: str, place: float) -> None:
        """Let the next write of data below that path land elsewhere in its file, at that share of its length."""
        self._misdirected = (below, place)

    def copy(self) -> SimulatedDisk:
        """Return a copy of what programs see, all of it durable."""
        copy = SimulatedDisk()
        copy._root = _copy(self._root, durable=False)
        return copy

    def put_back(self, copy: SimulatedDisk, below: str = "") -> None:
        """Have the content of a copy in the place of our own, all of it or what is below that path."""
        found = copy._find(below)
        assert isinstance(found, _Directory), f"{below} is not a directory"
        old = _copy(found, durable=False)
        if not below:
            self._root = old
            return
        parent, name = self._parent(below)
        parent.sync()
        parent.cached[name] = parent.durable[name] = old

    def after_power_loss(self) -> SimulatedDisk:
        """Return a copy as it would be if the power failed now and nothing unsynced had reached the disk."""
        copy = SimulatedDisk()
        copy._root = _copy(self._root, durable=True)
        return copy

    def survives_power_loss(self, below: str = "") -> bool:
        """Tell whether a loss of power would change nothing, below that path."""
        node = self._find(below)
        return node is None or _is_durable(node)

    def tear(self, chance: Random) -> SimulatedDisk:
        """Return a copy as it might be if the power failed now: what is unsynced kept, lost or torn, in any order."""
        copy = SimulatedDisk()
        copy._root = _fork(self._root, {})
        copy.lose_power(chance)
        return copy

    def unsynced_write(self, path: str) -> int:
        """Return how many bytes the last change of that file wrote, if it is a write that is not synced; else 0."""
        contents = self._find(path)
        last = contents.unsynced[-1] if isinstance(contents, _Contents) and contents.unsynced else None
        return len(last.data) if isinstance(last, _Written) else 0

    def cut_write(self, path: str, kept: int) -> SimulatedDisk:
        """Return a copy in which only so many bytes of that write have arrived, and everything before it."""
        copy = SimulatedDisk()
        copy._root = _fork(self._root, {})
        contents = copy._find(path)
        assert isinstance(contents, _Contents), f"{path} is not a file"
        last = contents.unsynced[-1]
        assert isinstance(last, _Written), "its last change is a write"
        contents.unsynced[-1] = _Written(last.offset, last.data[:kept])
        contents.sync()
        contents.cached = bytearray(contents.durable)
        return copy.copy()

    def sizes(self, below: str) -> dict[str, int]:
        """Paths of all files below that path, in order, and how many bytes of each are written, short of zeros."""
        directory = self._find(below)
        found: dict[str, int] = {}
        for name, node in sorted(directory.cached.items()) if isinstance(directory, _Directory) else ():
            path = f"{below}/{name}"
            if isinstance(node, _Directory):
                found |= self.sizes(path)
            else:
                found[path] = len(node.cached.rstrip(b"\0"))
        return found

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Damage a byte where it lies."""
        contents = self._find(path)
        assert isinstance(contents, _Contents), f"{path} is not a file"
        contents.cached[offset] ^= 1 << bit
        if offset < len(contents.durable):
            contents.durable[offset] ^= 1 << bit

    def lose_name(self, path: str) -> None:
        """Forget that there is such a file."""
        parent, name = self._parent(path)
        parent.sync()
        del parent.cached[name], parent.durable[name]

    # The protocol of `world.disk.Disk`.

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> SimulatedFile:
        """Open for reading and writing; FileNotFoundError without `create`."""
        del mode
        self.called()
        parent, name = self._parent(path)
        contents = parent.cached.get(name)
        if contents is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self.called_to_change("create", path)
            contents = _Contents()
            parent.change(_Linked(name, contents))
        if isinstance(contents, _Directory):
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return SimulatedFile(self, contents, path)

    def exists(self, path: str) -> bool:
        """Tell whether the path names a file or directory."""
        self.called()
        return self._find(path) is not None

    def list(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when there is none."""
        self.called()
        directory = self._find(path)
        return sorted(directory.cached) if isinstance(directory, _Directory) else []

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create it and its parents, all of them durable on return; nothing if it is there."""
        del mode
        self.called_to_change("make directory", path)
        directory = self._root
        for name in _names(path):
            below = directory.cached.get(name)
            if below is None:
                below = _Directory()
                directory.durable[name] = directory.cached[name] = below
            if isinstance(below, _Contents):
                raise FileExistsError(errno.EEXIST, "is a file", path)
            directory = below

    def rename(self, old: str, new: str) -> None:
        """Rename within a directory: one directory sync then makes it durable, which is all that storage relies on."""
        self.called_to_change("rename", old)
        parent, old_name = self._parent(old)
        new_parent, new_name = self._parent(new)
        if parent is not new_parent:
            raise OSError(errno.EXDEV, "the simulated disk renames within a directory only", new)
        if old_name not in parent.cached:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        parent.change(_Renamed(old_name, new_name))

    def remove(self, path: str) -> None:
        """Unlink a file; FileNotFoundError if there is none."""
        self.called_to_change("remove", path)
        parent, name = self._parent(path)
        if name not in parent.cached:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        parent.change(_Unlinked(name))

    def sync_directory(self, path: str) -> None:
        """Make the names in that directory durable."""
        self.called_to_change("sync directory", path)
        directory = self._find(path)
        if not isinstance(directory, _Directory):
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        directory.sync()

    def lock(self, path: str) -> SimulatedFile:
        """Create and lock a file for this process's life; BlockingIOError if another holds it."""
        if path in self._locked:
            raise BlockingIOError(errno.EAGAIN, "locked", path)
        file = self.open(path, create=True)
        self._locked.add(path)
        file.on_close = lambda: self._locked.discard(path)
        return file

    # Inside.

    @property
    def process(self) -> int:
        """Number of the process whose disk calls count."""
        return self._process

    def called(self) -> None:
        """Every disk call passes here: the process may die at any of them."""
        if self._calls_left is not None:
            if self._calls_left <= 0:
                raise PowerLost
            self._calls_left -= 1

    def called_to_change(self, kind: str, path: str) -> None:
        """Every call that changes or syncs something may fail besides."""
        if self.watcher is not None:
            self.watcher(kind, path)
        self.called()
        self._maybe_fail(path, FailingCalls.WRITES)

    def called_to_sync(self, path: str) -> bool:
        """A sync may fail with other writes, or alone; False if it has to lie from now on."""
        self.called_to_change("sync", path)
        self._maybe_fail(path, FailingCalls.SYNCS)
        lies, self._lies_on_sync = self._lies_on_sync, False
        return not lies

    def called_to_read(self, path: str) -> None:
        """So may a read."""
        self.called()
        self._maybe_fail(path, FailingCalls.READS)

    def called_to_write(self, path: str, offset: int, size: int) -> int:
        """Return where data for `offset` lands."""
        self.called_to_change("write", path)
        if self._misdirected is None or not path.startswith(self._misdirected[0]):
            return offset
        (_, place), self._misdirected = self._misdirected, None
        return int(place * size) // SECTOR_BYTES * SECTOR_BYTES

    def _maybe_fail(self, path: str, calls: FailingCalls) -> None:
        failure = self._failure
        if failure is not None and failure.calls is calls and path.startswith(failure.below):
            raise failure.error

    def _find(self, path: str) -> _Directory | _Contents | None:
        return self._walk(_names(path))

    def _walk(self, names: Iterable[str]) -> _Directory | _Contents | None:
        node: _Directory | _Contents | None = self._root
        for name in names:
            if not isinstance(node, _Directory):
                return None
            node = node.cached.get(name)
        return node

    def _parent(self, path: str) -> tuple[_Directory, str]:
        *above, name = _names(path)
        directory = self._walk(above)
        if not isinstance(directory, _Directory):
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        return directory, name


@lru_cache(maxsize=4096)
def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name and name != ".")


def _copy(directory: _Directory, *, durable: bool) -> _Directory:
    """Return a tree in which all is durable: what is so in this one, or all that is seen in it."""
    copy = _Directory()
    for name, node in (directory.durable if durable else directory.cached).items():
        if isinstance(node, _Directory):
            copy.durable[name] = _copy(node, durable=durable)
        else:
            contents = node.durable if durable else node.cached
            copy.durable[name] = _Contents(bytearray(contents), bytearray(contents))
    copy.cached = dict(copy.durable)
    return copy


def _is_durable(node: _Directory | _Contents) -> bool:
    if node.unsynced or node.cached != node.durable:  # They differ although all is synced if a sync has lied.
        return False
    return isinstance(node, _Contents) or all(map(_is_durable, node.cached.values()))


def _fork(directory: _Directory, known: dict[int, _Directory | _Contents]) -> _Directory:
    """Return a copy of a tree with what is unsynced in it; a node that has two names has them in the copy too."""

    def fork(node: _Directory | _Contents) -> _Directory | _Contents:
        if id(node) not in known:
            known[id(node)] = (
                _fork(node, known)
                if isinstance(node, _Directory)
                else _Contents(bytearray(node.cached), bytearray(node.durable), list(node.unsynced))
            )
        return known[id(node)]

    return _Directory(
        {name: fork(node) for name, node in directory.cached.items()},
        {name: fork(node) for name, node in directory.durable.items()},
        [
            _Linked(change.name, fork(change.node)) if isinstance(change, _Linked) else change
            for change in directory.unsynced
        ],
    )


class SimulatedFile:
    """An open file of one process."""

    def __init__(self, disk: SimulatedDisk, contents: _Contents, path: str) -> None:
        self._disk = disk
        self._path = path
        self._contents = contents
        self._process = disk.process
        self._closed = False
        self.on_close = _nothing

    def _called(self) -> None:
        self._check_open()
        self._disk.called()

    def _check_open(self) -> None:
        if self._process != self._disk.process:
            raise PowerLost
        if self._closed:
            raise ValueError("the file is closed")

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""
        self._check_open()
        self._disk.called_to_read(self._path)
        return bytes(self._contents.cached[offset : offset + size])

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write all the buffers one after another from `offset`."""
        self._check_open()
        lands = self._disk.called_to_write(self._path, offset, len(self._contents.cached))
        self._contents.change(_Written(lands, b"".join(buffers)))

    def sync(self) -> None:
        """Make data and size durable."""
        self._check_open()
        if not self._disk.called_to_sync(self._path):
            self._contents.forget_unsynced()
            raise OSError(errno.EIO, "input/output error", self._path)
        self._contents.sync()

    def size(self) -> int:
        """Length in bytes."""
        self._called()
        return len(self._contents.cached)

    def truncate(self, size: int) -> None:
        """Cut or zero-extend."""
        self._check_open()
        self._disk.called_to_change("truncate", self._path)
        self._contents.change(_Resized(size))

    def close(self) -> None:
        """Close; idempotent; does not sync."""
        if not self._closed and self._process == self._disk.process:
            self.on_close()
        self._closed = True


def _nothing() -> None:
    """A file that holds no lock has nothing to let go of."""
