"""Compaction: when a snapshot is taken, how it gets to the disk, and how much of the log stays behind it (section 7).

A snapshot is written in slices, each a disk job of its own, so that the log's writes go in between. One that the disk
will not have is given up, noted and taken again later, with more patience each time: the log alone says what is
durable, so nothing is lost but room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final, Protocol

import attrs

from raftswarm.errors import StorageError
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.state_machine import Capture, machine_errors
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.snapshots import Saving

SMALL_STATE_BYTES: Final = 1024 * 1024
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 60.0


@attrs.frozen(kw_only=True)
class CompactionPolicy:
    """When to take a snapshot, what to keep behind it, and how fast to send it.

    A snapshot is taken when any of the first three says so; of a large state, for its commands' sake only when those
    since the last one have as many bytes as `snapshot_growth` says, so that all snapshots together cost at most a part
    of what the log costs. Behind it, the last `keep_entries` entries stay, so that a
    member that was away for a moment need not be sent the whole state. More of the log stays only for followers that
    answer: what one of them still lacks, or will lack once it has the snapshot that it is being sent, but no more than
    `keep_bytes_for_followers`. A follower that does not answer for an election timeout holds nothing back. Whoever
    needs what is gone is sent the newest snapshot.
    """

    snapshot_every_commands: int = 10_000
    snapshot_every_bytes: int = 64 * 1024 * 1024
    """Of commands."""
    snapshot_every_seconds: float = inf
    """If there was anything new; and soon after a start, when the age of the last one is not known."""
    snapshot_growth: float = 2.0
    """Times the bytes of the last snapshot, once that has more than 1 MiB."""
    keep_entries: int = 500
    """LogEntriesForSlowFollowers …"""
    keep_entries_bytes: int = 4 * 1024 * 1024
    """… but no more of them than have so many bytes."""
    keep_bytes_for_followers: int = 128 * 1024 * 1024
    """In memory and on disk."""
    send_bytes_per_second: float = 64.0 * 1024 * 1024
    """To one follower."""


class Submit(Protocol):
    """How a replica hands a job to its disk; what neither `then` nor `otherwise` takes stops the member."""

    def __call__(
        self,
        job: Callable[[], object],
        then: Callable[[], object] | None = None,
        otherwise: Callable[[StorageError], object] | None = None,
    ) -> None:
        """Run it after all earlier ones."""
        ...


class SnapshotSaver:
    """Says when a snapshot is due, and gets it to the disk."""

    def __init__(
        self,
        policy: CompactionPolicy,
        storage: MemberStorage,
        submit: Submit,
        *,
        newest: SnapshotMeta,
        saved: Callable[[SnapshotMeta], object],
        note: Callable[[str], object],
    ) -> None:
        self._policy = policy
        self._storage = storage
        self._submit = submit
        self._saved = saved
        self._note = note
        self._last = newest
        """What the last one covered, or will."""
        self._bytes = 0
        """Of commands applied since."""
        self._last_bytes = 0
        """Of the last snapshot taken here; 0 when that is not known."""
        self._began_at = 0.0
        self._is_saving = False
        self._patience = 0.0
        """How long the next attempt waits, when the last one failed."""

    def applied(self, size: int) -> None:
        """So many bytes of commands more would be in the next one."""
        self._bytes += size

    def installed(self, snapshot: SnapshotMeta) -> None:
        """The leader's took the place of ours."""
        self._last = snapshot
        self._bytes = 0
        self._patience = 0.0

    def due_at(self, applied: SnapshotMeta) -> float:
        """When to take one of what is applied; in the past if it is time, never while one is being written."""
        if self._is_saving:
            return inf
        if self._patience:
            return self._began_at + self._patience
        wanted_at = self._storage.snapshot_wanted_at
        if wanted_at is not None and applied.index >= wanted_at:
            return -inf  # Data that an earlier key sealed is to go (docs/operations.md).
        if applied.index <= self._last.index:
            return inf
        commands = applied.commands - self._last.commands
        if commands >= self._policy.snapshot_every_commands or self._bytes >= self._policy.snapshot_every_bytes:
            is_large = self._last_bytes > SMALL_STATE_BYTES
            if not is_large or self._bytes >= self._policy.snapshot_growth * self._last_bytes:
                return -inf
        return self._began_at + self._policy.snapshot_every_seconds

    def save(self, snapshot: SnapshotMeta, capture: Capture, now: float) -> None:
        """Begin to write one; `saved` is told when it is durable."""
        self._last = snapshot
        self._bytes = 0
        self._began_at = now
        self._is_saving = True
        self._last_bytes = 0
        self._write(Saving(snapshot, self._weigh(_read(capture, snapshot.index))))

    def _weigh(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._last_bytes += len(chunk)
            yield chunk

    def _write(self, saving: Saving) -> None:
        was_last: list[bool] = []

        def written() -> None:
            if not was_last[0]:
                self._write(saving)
                return
            self._is_saving = False
            self._patience = 0.0
            self._saved(saving.meta)

        def failed(error: StorageError) -> None:
            self._is_saving = False
            self._patience = min(max(2 * self._patience, FIRST_RETRY_SECONDS), LAST_RETRY_SECONDS)
            self._note(f"the snapshot up to entry {saving.meta.index} is put off: {error}")

        self._submit(lambda: was_last.append(self._storage.save_slice(saving)), written, failed)


def _read(capture: Capture, index: int) -> Iterator[bytes]:
    with machine_errors(f"while the snapshot up to entry {index} was being written"):
        for chunk in capture.chunks():
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"a chunk is bytes, not {type(chunk).__name__}")
            yield chunk
