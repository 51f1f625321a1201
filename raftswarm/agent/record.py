"""The agent's own record of its tasks, so that they are known again before any manager is reached (SWARM 8.2).

One sealed file per task holds the task with its last status: specs carry secrets in their environment. Writes are
gathered: while one job is at the disk, the latest version of every changed task waits for the next.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final

import msgspec
import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from raftswarm.agent.disk_jobs import run_on_disk
from raftswarm.errors import ForeignState, StorageError
from raftswarm.objects.records import Task
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk, DiskRunner

logger = logging.getLogger("raftswarm.agent")

SUFFIX: Final = ".record"
_ASIDE: Final = ".new"
_KIND: Final = b"RSTASK\x00"
_VERSION: Final = b"\x01"
_MAGIC: Final = _KIND + _VERSION
_NONCE_BYTES: Final = 12
_ID: Final = re.compile(r"[0-9a-z]{1,64}")


def is_task_id(text: str) -> bool:
    """Tell whether a task id may name a file: managers send ids, and nobody's bytes choose our paths."""
    return _ID.fullmatch(text) is not None


class TaskRecords:
    """The sealed files of one node's tasks, all in one directory."""

    def __init__(self, disk: Disk, runner: DiskRunner, directory: str, key: bytes, entropy: Entropy) -> None:
        self._disk = disk
        self._runner = runner
        self._directory = directory
        self._seal = AESGCM(key)
        self._entropy = entropy
        self._waiting: dict[str, Task | None] = {}
        self._next_written = trio.Event()
        """Of the job that will take what waits."""
        self._written: trio.Event | None = None
        """Of the job at the disk."""
        self._failure: StorageError | None = None

    async def load(self) -> list[Task]:
        """Return the tasks on record, in the order of their ids. What cannot be opened is logged and forgotten."""
        return await run_on_disk(self._runner, self._read_all)

    def put(self, task: Task) -> None:
        """Record this version of a task, soon."""
        self._change(task.id, task)

    def forget(self, task_id: str) -> None:
        """Remove a task's record, soon."""
        self._change(task_id, None)

    async def flush(self) -> None:
        """Return when everything asked for before is durable; StorageError when a write has failed."""
        written = self._next_written if self._waiting else self._written
        if written is not None:
            await written.wait()
        if self._failure is not None:
            raise self._failure

    def _change(self, task_id: str, task: Task | None) -> None:
        assert is_task_id(task_id), "ids are checked where assignments come in"
        self._waiting[task_id] = task
        if self._written is None:
            self._submit()

    def _submit(self) -> None:
        changes, self._waiting = self._waiting, {}
        self._written, self._next_written = self._next_written, trio.Event()
        self._runner.submit(lambda: self._write(changes), self._finish)

    def _finish(self, error: BaseException | None) -> None:
        assert self._written is not None, "one job at a time"
        if error is not None and self._failure is None:
            text = f"cannot record this node's tasks: {error}"
            self._failure = error if isinstance(error, StorageError) else StorageError(text)
            logger.error("%s", text)
        self._written.set()
        self._written = None
        if self._waiting:
            self._submit()

    # On the disk's thread.

    def _write(self, changes: Mapping[str, Task | None]) -> None:
        self._disk.make_directory(self._directory)
        for task_id, task in changes.items():
            path = f"{self._directory}/{task_id}{SUFFIX}"
            if task is not None:
                self._replace(path, self._sealed(task))
            elif self._disk.exists(path):
                self._disk.remove(path)
        self._disk.sync_directory(self._directory)

    def _replace(self, path: str, content: bytes) -> None:
        file = self._disk.open(path + _ASIDE, create=True)
        try:
            file.truncate(0)
            file.write(0, [content])
            file.sync()
        finally:
            file.close()
        self._disk.rename(path + _ASIDE, path)

    def _sealed(self, task: Task) -> bytes:
        nonce = self._entropy.token_bytes(_NONCE_BYTES)
        return _MAGIC + nonce + self._seal.encrypt(nonce, msgspec.msgpack.encode(task), _bind(task.id))

    def _read_all(self) -> list[Task]:
        tasks = []
        for name in self._disk.list(self._directory):
            if not name.endswith(SUFFIX):
                continue
            task = self._open(f"{self._directory}/{name}", name.removesuffix(SUFFIX))
            if task is None:
                self._disk.remove(f"{self._directory}/{name}")
            else:
                tasks.append(task)
        return tasks

    def _open(self, path: str, task_id: str) -> Task | None:
        file = self._disk.open(path)
        try:
            content = file.read(0, file.size())
        finally:
            file.close()
        start = len(_MAGIC) + _NONCE_BYTES
        if content.startswith(_KIND) and not content.startswith(_MAGIC):
            raise ForeignState(f"{path} was written by a newer raftswarm; use that one, or remove the state directory")
        try:
            opened = self._seal.decrypt(content[len(_MAGIC) : start], content[start:], _bind(task_id))
            return msgspec.msgpack.decode(opened, type=Task)
        except (ValueError, InvalidTag):  # Cut short; damaged or of another key; from a task type that has changed.
            logger.error("%s is damaged, or sealed with another key: its task is ended", path)  # noqa: TRY400 - no bug
            return None


def _bind(task_id: str) -> bytes:
    """Associated data: a record is good under its own name only."""
    return _MAGIC + task_id.encode()
