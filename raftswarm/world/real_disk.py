"""The machine's own disk, and the one thread that waits for it.

A blocking call on trio's loop would hold up heartbeats, and a hop through trio's thread pool costs half as much again
as a thread that is always there; so all of storage runs as jobs of one dedicated thread, in order.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

import trio

from raftswarm.world.disk import File, disk_error

_MAX_BUFFERS: Final = os.sysconf("SC_IOV_MAX")


class RealFile:
    """An open file descriptor."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the end."""
        pieces: list[bytes] = []
        while size > 0 and (piece := os.pread(self._descriptor, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write all the buffers one after another from `offset`; DiskFailed if the disk will not have them."""
        waiting = deque(memoryview(buffer).cast("B") for buffer in buffers)
        with _failing("write", self._path):
            while waiting:
                written = os.pwritev(self._descriptor, [*waiting][:_MAX_BUFFERS], offset)
                offset += written
                # The kernel may take less than it was given: go on where it stopped, in the middle of a buffer or not.
                while waiting and written >= len(waiting[0]):
                    written -= len(waiting.popleft())
                if written:
                    waiting[0] = waiting[0][written:]

    def sync(self) -> None:
        """Make data and size durable. After DiskFailed nobody knows what is on the disk."""
        with _failing("sync", self._path):
            os.fdatasync(self._descriptor)

    def size(self) -> int:
        """Length in bytes."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """Cut or zero-extend."""
        with _failing("truncate", self._path):
            os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Close; idempotent; does not sync. A lock it holds is released."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RealDisk:
    """The file system as the operating system shows it."""

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> File:
        """Open for reading and writing; FileNotFoundError without `create`."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return RealFile(os.open(path, flags, mode), path)

    def exists(self, path: str) -> bool:
        """Tell whether the path names a file or directory."""
        return Path(path).exists()

    def list(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when there is none."""
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except FileNotFoundError:
            return []

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Create it and its parents; nothing if it is there."""
        Path(path).mkdir(mode=mode, parents=True, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        """Atomically give `old` the name `new`, replacing what had it."""
        with _failing("rename", new):
            Path(old).replace(new)

    def remove(self, path: str) -> None:
        """Unlink a file; FileNotFoundError if there is none."""
        Path(path).unlink()

    def sync_directory(self, path: str) -> None:
        """Make the names in that directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _failing("sync", path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> File:
        """Create and lock a file until it is closed or this process ends; BlockingIOError if another holds it."""
        while True:
            file = RealFile(descriptor := self._open_lock(path), path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it may have removed the file meanwhile: a lock on what has no name keeps nobody out.
                if os.fstat(descriptor).st_nlink:
                    return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _open_lock(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class ReadOnlyDisk(RealDisk):
    """The same, to look at: files are opened for reading, and what would change something is not done.

    So what an inspection reads is what was there, on a disk that is mounted read-only too.
    """

    def open(self, path: str, *, create: bool = False, mode: int = 0o600) -> File:
        """Open for reading; FileNotFoundError if there is none."""
        del create, mode
        return RealFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Make none."""

    def rename(self, old: str, new: str) -> None:
        """Leave it."""

    def remove(self, path: str) -> None:
        """Leave it."""

    def sync_directory(self, path: str) -> None:
        """Nothing was changed."""

    def _open_lock(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _failing(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"could not {verb} {path}", error) from error


_Done = Callable[[BaseException | None], None]


class ThreadDiskRunner:
    """Runs jobs in order on one thread of its own, for as long as its `async with` block lasts.

    Who submits bounds what waits here: a replica has two writes in flight. Leaving the block finishes what was
    submitted, so a job that closes files is run even when the block was cancelled.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], object], _Done] | None] = SimpleQueue()
        self._finished: deque[tuple[_Done, BaseException | None]] = deque()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def __aenter__(self) -> Self:
        """Start the thread."""
        await trio.lowlevel.checkpoint()
        self._token = trio.lowlevel.current_trio_token()
        # A daemon thread: a disk that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="raftswarm-disk", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Run what waits, deliver the results, end the thread."""
        assert self._thread is not None
        idle = trio.Event()
        self.submit(lambda: None, lambda _: idle.set())
        self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await idle.wait()
        self._thread.join()
        self._thread = None

    def submit(self, job: Callable[[], object], done: _Done) -> None:
        """Run `job` after all earlier ones; then `done(None)`, or `done(error)` if it raised, on the loop."""
        assert self._thread is not None, "jobs run inside the runner's block only"
        self._jobs.put((job, done))

    def _work(self) -> None:
        assert self._token is not None
        while (submitted := self._jobs.get()) is not None:
            job, done = submitted
            failure: BaseException | None = None
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who submitted the job
                failure = error
            self._finished.append((done, failure))
            with suppress(trio.RunFinishedError):  # The loop is gone, and with it whoever waited.
                self._token.run_sync_soon(self._deliver, idempotent=True)

    def _deliver(self) -> None:
        """Call back for every job finished by now: one wake-up serves several."""
        while self._finished:
            done, failure = self._finished.popleft()
            done(failure)
