"""A snapshot's way to a member that lacks old entries: offered, sent in checked pieces, resumed where it broke off.

The one big idea: both ends are plain objects that take a frame and say what to answer, and know neither link nor loop:
the trio links below and the simulated ones drive the same two. What an end does with a frame reads or writes the disk,
so it is a disk job; the loop only moves frames. Neither end holds more of a snapshot than what is on its way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

import attrs
import trio

from raftswarm.errors import LinkClosed
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.wire.errors import WireError
from raftswarm.wire.member_codec import (
    SnapshotArrived,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotWanted,
    cut_chunk,
    decode_snapshot_part,
    encode_snapshot_part,
)
from raftswarm.world.network import Link

T = TypeVar("T")

STALL_SECONDS: Final = 30.0
"""A transfer in which nothing moves for this long is given up."""
READ_BYTES: Final = 1024 * 1024
"""What one disk job reads."""


class RunJob(Protocol):
    """Awaits a disk job."""

    async def __call__(self, job: Callable[[], T]) -> T:
        """Return or raise what it does."""
        ...


class SnapshotSource(Protocol):
    """An open snapshot, which stays as it is until it is closed."""

    def seek(self, number: int) -> None:
        """Go on at that chunk, counted from 1."""
        ...

    def __next__(self) -> bytes:
        """Return the next chunk."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class SnapshotSink(Protocol):
    """Where chunks are kept until they are a snapshot."""

    def begin_receiving(self, offer: SnapshotOffer) -> int:
        """Return how many of its chunks are here already; all of them when it is of no use."""
        ...

    def receive_chunk(self, offer: SnapshotOffer, chunk: SnapshotChunk) -> int:
        """Keep the next chunk, return how many are here; SnapshotDamaged if it is not that."""
        ...

    def finish_receiving(self, offer: SnapshotOffer) -> None:
        """Make the whole durable; SnapshotDamaged if it is not what was offered."""
        ...


@attrs.define(eq=False)
class OutgoingSnapshot:
    """One snapshot for one member: the same over as many links as it takes."""

    offer: SnapshotOffer
    _source: SnapshotSource
    _next: int = 1
    arrived: bool = False
    """The other side has all of it, durably."""

    def begin(self) -> bytes:
        """Return the first frame for a new link."""
        return encode_snapshot_part(self.offer)

    def take(self, answer: bytes) -> None:
        """Hear how far the other side is; a disk job. WireError if that is not what it says."""
        match decode_snapshot_part(answer):
            case SnapshotArrived():
                self.arrived = True
            case SnapshotWanted(number=number) if 1 <= number <= self.offer.chunks:
                self._source.seek(number)
                self._next = number
            case _:
                raise WireError("the receiver of a snapshot answered with something else")

    def read(self, limit_bytes: int = READ_BYTES) -> list[bytes]:
        """Return the next frames, one at least until all were read; a disk job."""
        frames: list[bytes] = []
        size = 0
        while self._next <= self.offer.chunks and size < limit_bytes:
            chunk = next(self._source)
            frames.append(encode_snapshot_part(cut_chunk(self.offer, self._next, chunk)))
            self._next += 1
            size += len(chunk)
        return frames

    def close(self) -> None:
        """Nothing of it is needed any more."""
        self._source.close()


@attrs.define(eq=False)
class IncomingSnapshot:
    """One link on which a snapshot comes."""

    _sink: SnapshotSink
    _offer: SnapshotOffer | None = None
    arrived: SnapshotMeta | None = None
    """Set when all of it is here, checked and durable."""

    def take(self, frame: bytes) -> bytes | None:
        """Take in a frame and return what to answer, if anything; a disk job.

        Raises:
            SnapshotDamaged: a piece is not what it has to be; the transfer starts anew.
            WireError: a frame is no piece of a snapshot, or comes at the wrong time.
            DiskFailed: it could not be kept.
        """
        match decode_snapshot_part(frame):
            case SnapshotOffer() as offer if self._offer is None:
                self._offer = offer
                here = self._sink.begin_receiving(offer)
                if here < offer.chunks:
                    return encode_snapshot_part(SnapshotWanted(number=here + 1))
            case SnapshotChunk() as chunk if self._offer is not None and self.arrived is None:
                offer = self._offer
                if self._sink.receive_chunk(offer, chunk) < offer.chunks:
                    return None
            case _:
                raise WireError("a snapshot is interrupted by something else")
        self._sink.finish_receiving(offer)
        self.arrived = offer.snapshot
        return encode_snapshot_part(SnapshotArrived())


@attrs.define(eq=False)
class Pace:
    """Keeps a stream below a number of bytes a second, on trio's clock."""

    _bytes_per_second: float
    _free_at: float = 0.0

    async def wait(self, size: int) -> None:
        """Return when so many bytes more may leave."""
        await trio.sleep_until(self._free_at)
        self._free_at = max(self._free_at, trio.current_time()) + size / self._bytes_per_second


async def send_snapshot(
    link: Link, outgoing: OutgoingSnapshot, run_job: RunJob, may_send: Callable[[int], Awaitable[None]]
) -> None:
    """Stream what the receiver lacks; return once it has confirmed the whole. LinkError when it does not come to that.

    `may_send` is awaited before each frame, with its bytes: for whoever paces the stream, or lets others go first.
    """
    await _post(link, outgoing.begin())
    await _hear(link, outgoing, run_job)
    while not outgoing.arrived and (frames := await run_job(outgoing.read)):
        for frame in frames:
            await may_send(len(frame))
            await _post(link, frame)
    if not outgoing.arrived:
        await _hear(link, outgoing, run_job)
    if not outgoing.arrived:
        raise WireError("the receiver of a snapshot has all of it and asks for more")


async def receive_snapshot(
    link: Link, incoming: IncomingSnapshot, run_job: RunJob, arrived: Callable[[SnapshotMeta], object]
) -> None:
    """Take in a snapshot, tell `arrived` of it, and confirm it; SnapshotDamaged, WireError or LinkClosed otherwise."""
    while incoming.arrived is None:
        frame = await _receive(link)
        answer = await run_job(partial(incoming.take, frame))
        if incoming.arrived is not None:
            arrived(incoming.arrived)
        if answer is not None:
            await _post(link, answer)


async def _hear(link: Link, outgoing: OutgoingSnapshot, run_job: RunJob) -> None:
    answer = await _receive(link)
    await run_job(partial(outgoing.take, answer))


async def _post(link: Link, frame: bytes) -> None:
    await trio.lowlevel.checkpoint()
    with trio.move_on_after(STALL_SECONDS):
        while not link.post(frame):
            await link.wait_room()
        return
    raise LinkClosed(f"{link.remote_address} took nothing of a snapshot for {STALL_SECONDS:g} seconds")


async def _receive(link: Link) -> bytes:
    with trio.move_on_after(STALL_SECONDS):
        return await link.receive()
    raise LinkClosed(f"{link.remote_address} sent nothing of a snapshot for {STALL_SECONDS:g} seconds")
