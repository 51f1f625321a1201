"""A snapshot's way to a member that lacks old entries (section 7): checked, resumed, paced."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TypeVar

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from raftswarm.errors import LinkClosed, SnapshotDamaged
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.files import Place
from raftswarm.storage.replay import Position
from raftswarm.storage.snapshots import Saving, Snapshots
from raftswarm.transport.snapshot_transfer import (
    STALL_SECONDS,
    IncomingSnapshot,
    OutgoingSnapshot,
    Pace,
    receive_snapshot,
    send_snapshot,
)
from raftswarm.wire.errors import WireError
from raftswarm.wire.member_codec import (
    SnapshotArrived,
    SnapshotChunk,
    SnapshotPart,
    SnapshotWanted,
    cut_chunk,
    decode_snapshot_part,
    encode_snapshot_part,
)
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import SimulatedDisk

META = SnapshotMeta(index=7, term=2, commands=70)
PIECES = [bytes([number]) * 1000 for number in range(1, 6)]

T = TypeVar("T")


async def at_once(job: Callable[[], T]) -> T:
    await trio.lowlevel.checkpoint()
    return job()


async def freely(_: int) -> None:
    await trio.lowlevel.checkpoint()


def make_snapshots(seed: int) -> Snapshots:
    disk = SimulatedDisk()
    disk.make_directory("snapshots")
    return Snapshots(Place(disk, "snapshots", bytes([seed]) * 32, SeededEntropy(Random(seed))))


def outgoing(meta: SnapshotMeta = META, pieces: list[bytes] = PIECES) -> OutgoingSnapshot:
    snapshots = make_snapshots(1)
    saving = Saving(meta, iter(pieces))
    while not snapshots.save_slice(saving, Position()):
        pass
    opened = snapshots.open()
    assert opened is not None
    return OutgoingSnapshot(*opened)


def installed(snapshots: Snapshots, meta: SnapshotMeta = META) -> list[bytes]:
    snapshots.installed(snapshots.find_received(meta))
    opened = snapshots.open()
    assert opened is not None
    return list(opened[1])


@attrs.define(eq=False)
class Wire:
    """One end of a link that breaks after so many frames from this end."""

    _sending: trio.MemorySendChannel[bytes]
    _receiving: trio.MemoryReceiveChannel[bytes]
    frames_left: float = math.inf
    parts: list[SnapshotPart] = attrs.field(factory=list)
    """What this end sent."""
    peer: None = None
    remote_address: str = "10.0.0.9:2377"

    def post(self, frame: bytes) -> bool:
        self.frames_left -= 1
        if self.frames_left < 0:
            self._sending.close()
            self._receiving.close()
            return False
        self.parts.append(decode_snapshot_part(frame))
        self._sending.send_nowait(frame)
        return True

    async def wait_room(self) -> None:
        raise LinkClosed("it broke")

    def hold(self, frame: bytes) -> bool:
        return self.post(frame)

    def flush(self) -> None:
        pass

    async def receive_many(self) -> list[bytes]:
        return [await self.receive()]

    async def receive(self) -> bytes:
        try:
            return await self._receiving.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("it broke") from None

    async def aclose(self) -> None:
        self._sending.close()
        self._receiving.close()


def wires(frames: float = math.inf) -> tuple[Wire, Wire]:
    there, here = trio.open_memory_channel[bytes](math.inf), trio.open_memory_channel[bytes](math.inf)
    return Wire(there[0], here[1], frames), Wire(here[0], there[1])


async def transfer(sender: OutgoingSnapshot, sink: Snapshots, *, frames: float = math.inf) -> list[SnapshotPart]:
    """Stream over one link; return what the sender said on it."""
    near, far = wires(frames)
    arrived: list[SnapshotMeta] = []

    async def take() -> None:
        try:
            await receive_snapshot(far, IncomingSnapshot(sink), at_once, arrived.append)
        except LinkClosed:
            await far.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        try:
            await send_snapshot(near, sender, at_once, freely)
        except LinkClosed:
            await near.aclose()
    assert arrived == ([META] if sender.arrived else [])
    return near.parts


def numbers(parts: list[SnapshotPart]) -> list[int]:
    return [part.number for part in parts if isinstance(part, SnapshotChunk)]


async def test_a_snapshot_arrives_as_it_was_saved() -> None:
    sender, sink = outgoing(), make_snapshots(2)

    parts = await transfer(sender, sink)

    assert sender.arrived
    assert numbers(parts) == [1, 2, 3, 4, 5]
    assert installed(sink) == PIECES


async def test_an_empty_state_is_a_snapshot() -> None:
    sender, sink = outgoing(pieces=[]), make_snapshots(2)

    assert numbers(await transfer(sender, sink)) == []

    assert sender.arrived
    assert installed(sink) == []


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 5])
async def test_after_a_broken_link_it_goes_on_with_what_is_lacking(frames: int) -> None:
    sender, sink = outgoing(), make_snapshots(2)
    before = await transfer(sender, sink, frames=frames)
    assert not sender.arrived

    parts = await transfer(sender, sink)

    assert sender.arrived
    assert numbers(before) + numbers(parts) == [1, 2, 3, 4, 5]
    assert installed(sink) == PIECES


async def test_another_sender_of_the_same_bytes_may_go_on() -> None:
    sink = make_snapshots(2)
    await transfer(outgoing(), sink, frames=3)

    assert numbers(await transfer(outgoing(), sink)) == [3, 4, 5]


async def test_what_is_complete_is_not_sent_again() -> None:
    sink = make_snapshots(2)
    await transfer(outgoing(), sink)
    again = outgoing()

    assert numbers(await transfer(again, sink)) == []
    assert again.arrived


async def test_a_receiver_that_wants_more_than_there_is_is_hung_up_on() -> None:
    for answer in (SnapshotWanted(number=6), SnapshotWanted(number=0), cut_chunk(outgoing().offer, 1, b"x")):
        near, far = wires()
        far.post(encode_snapshot_part(answer))

        with pytest.raises(WireError, match="answered with something else"):
            await send_snapshot(near, outgoing(), at_once, freely)


async def test_a_receiver_that_says_nothing_is_given_up(autojump_clock: MockClock) -> None:
    near, _ = wires()
    before = trio.current_time()

    with pytest.raises(LinkClosed, match="sent nothing of a snapshot for 30 seconds"):
        await send_snapshot(near, outgoing(), at_once, freely)

    assert trio.current_time() == before + STALL_SECONDS


async def test_each_frame_waits_until_it_may_leave() -> None:
    near, far = wires()
    far.post(encode_snapshot_part(SnapshotWanted(number=1)))
    far.post(encode_snapshot_part(SnapshotArrived()))
    asked: list[int] = []

    async def may_send(size: int) -> None:
        await trio.lowlevel.checkpoint()
        assert len(numbers(near.parts)) == len(asked)
        asked.append(size)

    await send_snapshot(near, outgoing(), at_once, may_send)

    assert len(asked) == 5
    assert all(1000 < size < 1100 for size in asked)


async def test_a_pace_is_kept_on_average(autojump_clock: MockClock) -> None:
    pace = Pace(1000.0)
    before = trio.current_time()

    for _ in range(11):
        await pace.wait(500)

    assert trio.current_time() == before + 5.0


async def test_a_pace_saves_nothing_up(autojump_clock: MockClock) -> None:
    pace = Pace(1000.0)
    await pace.wait(500)
    await trio.sleep(60)
    before = trio.current_time()

    await pace.wait(500)
    await pace.wait(500)

    assert trio.current_time() == before + 0.5


OFFER = outgoing().offer


@pytest.mark.parametrize(
    "parts",
    [
        [cut_chunk(OFFER, 1, PIECES[0])],
        [SnapshotArrived()],
        [OFFER, OFFER],
        [OFFER, SnapshotWanted(number=1)],
        [OFFER, *(cut_chunk(OFFER, number, PIECES[number - 1]) for number in (1, 2, 3, 4, 5, 5))],
    ],
    ids=["no offer", "an answer", "offered twice", "a question", "something behind the end"],
)
def test_what_is_not_said_in_a_transfer_ends_it(parts: list[SnapshotPart]) -> None:
    incoming = IncomingSnapshot(make_snapshots(2))
    *before, last = map(encode_snapshot_part, parts)
    for frame in before:
        incoming.take(frame)

    with pytest.raises(WireError, match="interrupted by something else"):
        incoming.take(last)


@pytest.mark.parametrize("place", range(0, 1100, 7))
def test_no_flipped_bit_gets_into_a_snapshot(place: int) -> None:
    sink = make_snapshots(2)
    incoming = IncomingSnapshot(sink)
    incoming.take(encode_snapshot_part(OFFER))
    frame = bytearray(encode_snapshot_part(cut_chunk(OFFER, 1, PIECES[0])))
    frame[place % len(frame)] ^= 1 << place % 8

    with pytest.raises((SnapshotDamaged, WireError)):
        incoming.take(bytes(frame))


def test_a_piece_of_another_snapshot_is_refused() -> None:
    incoming = IncomingSnapshot(make_snapshots(2))
    incoming.take(encode_snapshot_part(OFFER))

    with pytest.raises(SnapshotDamaged, match="chunk 1 is damaged"):
        incoming.take(encode_snapshot_part(cut_chunk(replace(OFFER, digest=bytes(32)), 1, PIECES[0])))


def test_nothing_has_arrived_before_all_of_it_has() -> None:
    incoming = IncomingSnapshot(make_snapshots(2))
    frames: list[SnapshotPart] = [OFFER, *(cut_chunk(OFFER, number, PIECES[number - 1]) for number in range(1, 6))]
    answers = []
    for frame in map(encode_snapshot_part, frames):
        assert incoming.arrived is None
        answers.append(incoming.take(frame))

    assert incoming.arrived == META
    assert [decode_snapshot_part(answer) for answer in answers if answer] == [
        SnapshotWanted(number=1),
        SnapshotArrived(),
    ]
