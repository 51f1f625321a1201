"""A link over a socket with small buffers: what does not go at once is left to the writer."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from raftswarm.errors import LinkClosed
from raftswarm.transport.plain import PlainChannel
from raftswarm.transport.socket_link import AT_ONCE_BYTES, SocketLink
from raftswarm.transport.sockets import Address, Stream
from raftswarm.wire.frames import join_frames

SOMEWHERE = Address("127.0.0.1", 1)


def make_streams() -> tuple[Stream, Stream]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    near, far = ends
    return Stream(near, SOMEWHERE), Stream(far, SOMEWHERE)


async def make_link(nursery: trio.Nursery, queue_bytes: int = 1_000_000) -> tuple[SocketLink, Stream]:
    near, far = make_streams()
    link = SocketLink(near, PlainChannel(), queue_bytes)
    nursery.start_soon(link.write)
    await wait_all_tasks_blocked()
    return link, far


async def test_a_small_frame_on_an_idle_link_leaves_before_anybody_else_runs(nursery: trio.Nursery) -> None:
    link, far = await make_link(nursery)

    assert link.post(b"at once")

    assert far._socket.recv(100) == join_frames([b"at once"])
    link.close("done")
    far.close()


async def test_what_the_kernel_does_not_take_at_once_follows_in_order(nursery: trio.Nursery) -> None:
    link, far = await make_link(nursery)
    other = SocketLink(far, PlainChannel())
    frames = [bytes([number]) * (AT_ONCE_BYTES - 10) for number in range(5)]

    for frame in frames:
        assert link.post(frame)

    assert [await other.receive() for _ in frames] == frames
    assert link.post(b"and on")
    assert await other.receive() == b"and on"
    link.close("done")
    other.close("done")


async def test_closing_waits_a_little_for_what_is_queued(nursery: trio.Nursery) -> None:
    link, far = await make_link(nursery)
    other = SocketLink(far, PlainChannel())
    frames = [bytes([number]) * 10_000 for number in range(5)]
    for frame in frames:
        assert link.post(frame)

    nursery.start_soon(link.aclose)

    assert [await other.receive() for _ in frames] == frames
    with pytest.raises(LinkClosed):
        await other.receive()


async def test_closing_does_not_wait_for_a_reader_that_has_gone_to_sleep(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftswarm.transport.socket_link.CLOSING_SECONDS", 0.01)
    link, far = await make_link(nursery)
    assert link.post(b"x" * 500_000)

    with trio.fail_after(2):
        await link.aclose()

    assert not link.post(b"too late")
    far.close()


async def test_closing_frees_whoever_waits_for_room(nursery: trio.Nursery) -> None:
    link, far = await make_link(nursery, queue_bytes=100_000)
    assert link.post(b"x" * 100_000)
    freed = trio.Event()

    async def wait() -> None:
        with pytest.raises(LinkClosed, match="the reason"):
            await link.wait_room()
        freed.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    link.close("the reason")
    await freed.wait()
    far.close()


async def test_what_the_channel_holds_from_the_handshake_is_received_first(nursery: trio.Nursery) -> None:
    class Channel(PlainChannel):
        held = join_frames([b"came with the handshake"])

        def open(self, received: bytes) -> bytes:
            held, self.held = self.held, b""
            return held + received

    near, far = make_streams()
    link = SocketLink(near, Channel())

    with trio.fail_after(2):
        assert await link.receive() == b"came with the handshake"
    link.close("done")
    far.close()
