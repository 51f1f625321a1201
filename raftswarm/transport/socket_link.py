"""A link over a socket: frames sealed by a channel, one or two sends per turn of the loop, a bounded queue.

A small frame posted on an idle link is sent at once. It wakes the writer, which runs when everybody else in this turn
has had their say, so that whatever else was posted meanwhile leaves in one piece; large frames always wait for it, so
that sealing them does not hold up whoever posts. Who knows the end of its own turn holds its frames and flushes: then
they leave in one piece without the writer, which only comes in when the kernel does not take them all. Reading happens
in the task that asks, so a slow reader slows the other side down.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Final, Protocol

import trio

from raftswarm.ca.identity import Identity
from raftswarm.errors import LinkClosed
from raftswarm.transport.sockets import Stream
from raftswarm.wire.errors import WireError
from raftswarm.wire.frames import LENGTH_BYTES, MAX_FRAME_BYTES, FrameReader, join_frames

QUEUE_BYTES: Final = 8 * 1024 * 1024
FLUSH_BYTES: Final = 256 * 1024
"""Frames are sealed and sent in pieces of about this size."""
READS_BETWEEN_YIELDS: Final = 16
"""A sender that never pauses gets this many reads before everybody else has a turn."""
AT_ONCE_BYTES: Final = 16 * 1024
"""One TLS record."""
CLOSING_SECONDS: Final = 0.25
"""How long closing waits for what is queued."""


class Channel(Protocol):
    """Turns what we say into what the socket carries, and back."""

    def seal(self, data: bytes) -> bytes:
        """Return the bytes to send for this data, after whatever the protocol itself still has to say."""
        ...

    def open(self, received: bytes) -> bytes:
        """Return the data in what was received, which may be none yet; LinkClosed at its end or when it is broken."""
        ...

    @property
    def has_output(self) -> bool:
        """Tell whether the protocol itself has something to say."""
        ...

    def say_goodbye(self) -> bytes:
        """Return the last bytes."""
        ...


class SocketLink:
    """One connection (`world.network.Link`). Somebody has to run `write`."""

    def __init__(self, stream: Stream, channel: Channel, queue_bytes: int = QUEUE_BYTES) -> None:
        self.peer: Identity | None = None
        """Set once the greeting has shown who it is; None for a caller without a certificate."""
        self._stream = stream
        self._channel = channel
        self._queue_bytes = queue_bytes
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        """Of the queue, and of what the writer has taken from it and not sent."""
        self._leftover: tuple[bytes, int] | None = None
        """Sealed bytes that the kernel did not take at once, and how many queued bytes they stand for."""
        self._writer_waits = False
        self._frames: deque[bytes] = deque()
        self._reader = FrameReader()
        self._reads = 0
        self._closed = ""
        """Why; empty while open."""
        self._to_write = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()

    @property
    def remote_address(self) -> str:
        """The other end's ``host:port``."""
        return str(self._stream.remote)

    def post(self, frame: bytes) -> bool:
        """Queue a frame; False, and nothing queued, when the queue is full or the link is closed."""
        if not self.hold(frame):
            return False
        if self._writer_waits:
            self._wake_writer()
            if self._queued_bytes <= AT_ONCE_BYTES:
                self._send_at_once()
        return not self._closed

    def hold(self, frame: bytes) -> bool:
        """Queue a frame as `post` does, for whoever calls `flush` before this turn of the loop ends."""
        assert len(frame) <= MAX_FRAME_BYTES, "whoever makes frames keeps to their limit"
        size = len(frame) + LENGTH_BYTES
        if self._closed or (self._queued_bytes and self._queued_bytes + size > self._queue_bytes):
            return False
        self._queue.append(frame)
        self._queued_bytes += size
        return True

    def flush(self) -> None:
        """Let what is queued leave now, as far as the kernel takes it; the writer sends the rest."""
        while self._writer_waits and self._queue:
            self._send_at_once()
            if self._leftover:
                self._wake_writer()

    def _wake_writer(self) -> None:
        self._writer_waits = False
        self._to_write.unpark()

    async def wait_room(self) -> None:
        """Return when the queue is at most half full; LinkClosed when it never will be."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._closed and self._queued_bytes > self._queue_bytes // 2:
            await self._progress.park()
        if self._closed:
            raise LinkClosed(self._closed)

    async def receive(self) -> bytes:
        """Return the next frame; LinkClosed at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._frames:
            await self._read_frames()
        return self._frames.popleft()

    async def receive_many(self) -> list[bytes]:
        """Return the next frame and whatever came with it; LinkClosed at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._frames:
            await self._read_frames()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    async def _read_frames(self) -> None:
        if self._closed:
            raise LinkClosed(self._closed)
        try:
            self._frames.extend(self._reader.feed(self._channel.open(await self._read())))
        except (LinkClosed, WireError) as error:
            self.close(str(error))
        if self._channel.has_output:
            self._to_write.unpark()

    async def _read(self) -> bytes:
        self._reads += 1
        if self._reads == 1:
            return b""  # What came together with the end of a handshake waits in the channel, not in the socket.
        if self._reads % READS_BETWEEN_YIELDS == 0:
            await trio.lowlevel.checkpoint()
        return await self._stream.receive_some()

    async def aclose(self) -> None:
        """Flush what is queued if it goes quickly, then close; idempotent."""
        try:
            with trio.move_on_after(CLOSING_SECONDS):
                while not self._closed and self._queued_bytes:
                    await self._progress.park()
        finally:
            self.close(f"the link to {self.remote_address} was closed here")

    def close(self, reason: str) -> None:
        """Close at once, with what the kernel takes of a good-bye."""
        if self._closed:
            return
        self._closed = reason
        self._queue.clear()
        if not self._queued_bytes:
            with contextlib.suppress(OSError):  # Nobody may be there to hear it.
                self._stream.send_now(self._channel.say_goodbye())
        self._stream.close()
        self._to_write.unpark_all()
        self._progress.unpark_all()

    async def write(self) -> None:
        """Send what is queued, until the link is closed; cancelling closes it."""
        try:
            while not self._closed:
                if not (self._leftover or self._queue or self._channel.has_output):
                    self._writer_waits = True
                    await self._to_write.park()
                    self._writer_waits = False
                    continue
                data, queued_bytes = self._leftover or self._seal()
                self._leftover = None
                await self._stream.send_all(data)
                self._make_room(queued_bytes)
        except LinkClosed as error:
            self.close(str(error))
        finally:
            self.close(f"the link to {self.remote_address} was closed here")

    def _send_at_once(self) -> None:
        try:
            data, queued_bytes = self._seal()
            sent = self._stream.send_now(data)
        except (LinkClosed, OSError) as error:
            self.close(f"the connection to {self.remote_address} broke: {error}")
            return
        if sent == len(data):
            self._make_room(queued_bytes)
        else:
            self._leftover = data[sent:], queued_bytes

    def _make_room(self, sent_bytes: int) -> None:
        self._queued_bytes -= sent_bytes
        if self._progress and self._queued_bytes <= self._queue_bytes // 2:
            self._progress.unpark_all()

    def _seal(self) -> tuple[bytes, int]:
        frames, queued_bytes = self._take_frames()
        return self._channel.seal(join_frames(frames)), queued_bytes

    def _take_frames(self) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        size = 0
        while self._queue and size < FLUSH_BYTES:
            frame = self._queue.popleft()
            frames.append(frame)
            size += len(frame) + LENGTH_BYTES
        return frames, size
