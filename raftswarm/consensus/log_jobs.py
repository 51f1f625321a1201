"""Jobs of the log at the disk, in order; while the disk is full they wait here, and are tried again.

A full disk is a slow one that says so. What a waiting write would prove is not said to anybody: so the others commit
without this member, a leader hands over as it does when its disk is slow, and all goes on once there is room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from math import inf
from typing import Final

import attrs

from raftswarm.consensus.compaction import Submit
from raftswarm.errors import DiskFull, StorageError

PAUSE_SECONDS: Final = 0.5
"""Between two tries: what is tried costs a system call or two."""


@attrs.frozen
class _Job:
    work: Callable[[], object]
    then: Callable[[], object]


class LogJobs:
    """What one replica writes to its log."""

    def __init__(
        self,
        submit: Submit,
        *,
        fail: Callable[[StorageError], object],
        note: Callable[[str], object],
        wake: Callable[[], object],
    ) -> None:
        """`fail` hears of an error that nothing comes after; after `wake`, `try_again` says when to call it."""
        self._submit = submit
        self._fail = fail
        self._note = note
        self._wake = wake
        self._jobs: deque[_Job] = deque()
        """Those that are not done, in order …"""
        self._under_way = 0
        """… of which the first so many are at the disk."""
        self._tried_at: float | None = None
        self.full: DiskFull | None = None
        """Why they wait; None while they do not."""

    @property
    def count(self) -> int:
        """How many are not done."""
        return len(self._jobs)

    def add(self, work: Callable[[], object], then: Callable[[], object]) -> None:
        """Do it after all others, then call `then`. It must leave nothing behind when it raises DiskFull."""
        self._jobs.append(_Job(work, then))
        if self.full is None:
            self._start_waiting()

    def try_again(self, now: float) -> float:
        """Try what waits for room, if it is time; return when to call again."""
        if self.full is None or self._under_way:
            return inf
        if self._tried_at is None:
            self._tried_at = now
        if now < self._tried_at + PAUSE_SECONDS:
            return self._tried_at + PAUSE_SECONDS
        self._tried_at = now
        self._start_waiting()
        return inf

    def _start_waiting(self) -> None:
        for job in list(islice(self._jobs, self._under_way, None)):
            self._under_way += 1
            self._submit(job.work, self._done, self._failed)

    def _done(self) -> None:
        self._under_way -= 1
        job = self._jobs.popleft()
        if self.full is not None:
            self._note("there is room on its disk again")
            self.full = self._tried_at = None
            self._start_waiting()
        job.then()

    def _failed(self, error: StorageError) -> None:
        if not isinstance(error, DiskFull):
            self._fail(error)
            return
        # Those behind it are refused as well: storage keeps their order.
        self._under_way -= 1
        if self.full is None:
            self._note(f"its disk is full, and what it has to write waits: {error}")
            self.full = error
        if not self._under_way:
            self._wake()
