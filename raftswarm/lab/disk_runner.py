"""Runs disk jobs at a virtual time: a job takes effect when it completes, or by a part when its process dies."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

from raftswarm.errors import LinkError, StorageError
from raftswarm.lab.event_heap import EventHeap
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk

_Job = Callable[[], object]
_Done = Callable[[BaseException | None], None]


class VirtualDiskRunner:
    """One process's queue to its disk."""

    def __init__(
        self,
        heap: EventHeap,
        draw_latency: Callable[[], float],
        call_back: Callable[..., None],
        *,
        member: int = 0,
    ) -> None:
        """`call_back(done, error)` reaches the process as its loop would: not while it is paused."""
        self.member = member
        self._heap = heap
        self._draw_latency = draw_latency
        self._call_back = call_back
        self._jobs: deque[tuple[_Job, _Done]] = deque()
        self._stopped = False

    def submit(self, job: _Job, done: _Done) -> None:
        """Run `job` after all earlier ones; then `done(None)`, or `done(error)` if it raised."""
        self._jobs.append((job, done))
        if len(self._jobs) == 1:
            self._heap.after(self._draw_latency(), self._complete)

    def _complete(self) -> None:
        if self._stopped:
            return
        job, done = self._jobs[0]
        failure: BaseException | None = None
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the protocol: whatever it raised goes to `done`
            failure = error
        self._jobs.popleft()
        if self._jobs:
            self._heap.after(self._draw_latency(), self._complete)
        self._call_back(done, failure)

    def finish(self) -> None:
        """Run what is queued, for a process that ends in good order."""
        self._stopped = True
        for job, _ in self._jobs:
            with contextlib.suppress(LinkError, OSError, StorageError):  # Whoever waited for it is gone.
                job()
        self._jobs.clear()

    def cut(self, disk: SimulatedDisk, calls: int) -> None:
        """Die with the process: the job under way gets as far as so many disk calls."""
        self._stopped = True
        if not self._jobs:
            return
        disk.cut_after(calls)
        with contextlib.suppress(PowerLost, OSError, StorageError, LinkError):
            self._jobs[0][0]()
