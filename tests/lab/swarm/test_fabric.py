"""Connections between simulated machines keep the promises of links, and break theirs where machines and ways do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.errors import LinkClosed
from raftswarm.lab.swarm.agenda import LoopAgenda
from raftswarm.lab.swarm.connections import SILENCE, SimulatedLink
from raftswarm.lab.swarm.fabric import Call, Fabric

ALICE, BOB = "10.0.0.1", "10.0.0.2"
PORT = f"{BOB}:2377"


@attrs.frozen
class Room:
    fabric: Fabric
    alice: SimulatedLink
    bob: SimulatedLink
    arrived: list[str]


def run_in_room(test: Callable[[Room], Awaitable[None]]) -> None:
    """Connect two machines, and let a test happen to them."""

    async def main() -> None:
        arrived: list[str] = []
        agenda = LoopAgenda()
        fabric = Fabric(agenda, Random, arrived.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agenda.run)
            _, listener = fabric.listen(BOB, PORT)
            call = Call(ALICE, PORT, None)
            fabric.dial(call)
            taken = await listener.next_call()
            connection, address = fabric.connect(taken, BOB)
            bob = SimulatedLink(connection, connection.back, connection.there, address, None)
            theirs = SimulatedLink(connection, connection.there, connection.back, PORT, None)
            fabric.answer(taken, BOB, theirs, (b"", "", ""))
            await call.answered.wait()
            assert call.link is not None
            await test(Room(fabric, call.link, bob, arrived))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_frames_arrive_once_in_order_and_take_their_time() -> None:
    async def test(room: Room) -> None:
        began = trio.current_time()
        sent = [bytes([number]) for number in range(200)]
        for frame in sent:
            assert room.alice.post(frame)
            await trio.sleep(0.00001)

        received: list[bytes] = []
        while len(received) < len(sent):
            received += await room.bob.receive_many()

        assert received == sent
        assert trio.current_time() - began > 0.0005

    run_in_room(test)


def test_what_was_sent_before_the_end_is_received() -> None:
    async def test(room: Room) -> None:
        room.alice.post(b"last words")
        room.alice.close()

        assert await room.bob.receive() == b"last words"
        with pytest.raises(LinkClosed, match="closed"):
            await room.bob.receive()
        assert not room.bob.post(b"anybody?")

    run_in_room(test)


def test_a_cut_one_way_is_silent_and_what_was_held_up_arrives_when_it_is_mended() -> None:
    async def test(room: Room) -> None:
        way = room.fabric.way(ALICE, BOB)
        way.cut()
        room.alice.post(b"one")
        room.bob.post(b"the other way")
        assert await room.alice.receive() == b"the other way"
        with trio.move_on_after(5) as patience:
            await room.bob.receive()
        assert patience.cancelled_caught

        way.mend()
        room.alice.post(b"two")

        assert await room.bob.receive() == b"one"
        assert await room.bob.receive() == b"two"

    run_in_room(test)


def test_a_cut_that_lasts_ends_the_connection_for_both() -> None:
    async def test(room: Room) -> None:
        began = trio.current_time()
        room.fabric.way(ALICE, BOB).cut()

        for link in (room.alice, room.bob):
            with pytest.raises(LinkClosed, match=SILENCE):
                await link.receive()

        assert 10 <= trio.current_time() - began <= 15

    run_in_room(test)


def test_a_reader_that_is_too_slow_fills_the_queue() -> None:
    async def test(room: Room) -> None:
        frame = bytes(1024 * 1024)
        posted = 0
        while room.alice.post(frame):
            posted += 1
        assert posted == 7  # With its length, the eighth is more than eight MiB.
        with trio.move_on_after(1) as patience:
            await room.alice.wait_room()
        assert patience.cancelled_caught

        for _ in range(posted):
            await room.bob.receive()

        await room.alice.wait_room()
        assert room.alice.post(frame)

    run_in_room(test)


def test_a_process_that_ends_hangs_up_and_one_without_power_does_not() -> None:
    async def hangs_up(room: Room) -> None:
        room.fabric.end_process(BOB, loses_power=False)
        with pytest.raises(LinkClosed, match="the other side closed"):
            await room.alice.receive()
        assert trio.current_time() < 1

    async def is_silent(room: Room) -> None:
        began = trio.current_time()
        room.fabric.end_process(BOB, loses_power=True)
        with pytest.raises(LinkClosed, match=SILENCE):
            await room.alice.receive()
        assert trio.current_time() - began >= 10

    run_in_room(hangs_up)
    run_in_room(is_silent)


def test_a_machine_that_has_power_again_resets_what_it_does_not_know() -> None:
    async def test(room: Room) -> None:
        room.fabric.end_process(BOB, loses_power=True)
        await trio.sleep(1)
        room.alice.post(b"still there?")
        await trio.sleep(1)
        room.fabric.restore_power(BOB)
        room.alice.post(b"and now?")

        began = trio.current_time()
        with pytest.raises(LinkClosed, match="does not know"):
            await room.alice.receive()

        assert trio.current_time() - began < 1
        assert room.arrived == []

    run_in_room(test)
