"""Moves a snapshot's frames between a simulated link and the disk, as `transport.snapshot_transfer` does on trio.

Both ends are the shipped ones; here is only who calls them when. One frame is taken in at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from raftswarm.errors import DiskFailed, LinkError, StorageError
from raftswarm.lab.network import BulkEnd
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.transport.snapshot_transfer import IncomingSnapshot, OutgoingSnapshot
from raftswarm.world.disk import DiskRunner

READ_BYTES = 512
"""One disk job's; little, so that small worlds have several."""


class SendingStream:
    """The end that has the snapshot."""

    def __init__(
        self,
        outgoing: OutgoingSnapshot,
        runner: DiskRunner,
        ended: Callable[[], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        self._outgoing = outgoing
        self._runner = runner
        self._ended = ended
        self._failed = failed
        self._has_ended = False
        self._link: BulkEnd | None = None

    def begin(self, link: BulkEnd) -> None:
        """Offer it on a link that reports to `hear` and `end`."""
        self._link = link
        link.post(self._outgoing.begin())

    def hear(self, answer: bytes) -> None:
        """The receiver says how far it is."""

        def taken(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, LinkError):
                self._break(error)
            elif error is not None or self._outgoing.arrived:
                self.end()
            else:
                self._read()

        self._runner.submit(lambda: self._outgoing.take(answer), taken)

    def _read(self) -> None:
        frames: list[bytes] = []

        def read(error: BaseException | None) -> None:
            if error is not None:
                self._break(error)
                return
            if self._has_ended or self._link is None:
                return
            for frame in frames:
                self._link.post(frame)
            if frames:
                self._read()

        self._runner.submit(lambda: frames.extend(self._outgoing.read(READ_BYTES)), read)

    def _break(self, error: BaseException) -> None:
        """What the member has itself cannot be read: it stops, as the driver would have it stop."""
        if not isinstance(error, StorageError):
            raise error
        self._failed(error)

    def end(self) -> None:
        """All of it arrived, or the link broke."""
        if not self._has_ended:
            self._has_ended = True
            if self._link is not None:
                self._link.close()
            self._ended()


class ReceivingStream:
    """The end that lacks it."""

    def __init__(
        self,
        incoming: IncomingSnapshot,
        link: BulkEnd,
        runner: DiskRunner,
        arrived: Callable[[SnapshotMeta], object],
    ) -> None:
        self._incoming = incoming
        self._link = link
        self._runner = runner
        self._arrived = arrived
        self._waiting: deque[bytes] = deque()

    def hear(self, frame: bytes) -> None:
        """The sender's next frame."""
        self._waiting.append(frame)
        if len(self._waiting) == 1:
            self._take()

    def _take(self) -> None:
        answers: list[bytes | None] = []

        def taken(error: BaseException | None) -> None:
            if isinstance(error, (LinkError, DiskFailed)):
                self.close()
            elif error is not None:
                raise error
            if not self._waiting:
                return
            self._waiting.popleft()
            if self._incoming.arrived is not None:
                self._arrived(self._incoming.arrived)
            if answers[0] is not None:
                self._link.post(answers[0])
            if self._waiting:
                self._take()

        frame = self._waiting[0]
        self._runner.submit(lambda: answers.append(self._incoming.take(frame)), taken)

    def close(self) -> None:
        """Take in nothing more."""
        self._waiting.clear()
        self._link.close()
