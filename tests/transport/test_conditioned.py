"""Connections over ways that are cut, slow or lossy: as TCP shows them, neither end is told (docs/chaos.md)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import ConnectionRefused, LinkClosed
from raftswarm.transport.conditioned import ConditionedSockets, ConditionedStream, draw_stall
from raftswarm.transport.sockets import Address, Stream, listen
from raftswarm.world.conditions import Conditions, ConditionsFollower, LinkConditions, write_conditions

A, B = "127.0.0.7", "127.0.0.8"
A_TO_B = LinkConditions(sender=A, receiver=B, cut=True)
B_TO_A = LinkConditions(sender=B, receiver=A, cut=True)


class Weather:
    """The conditions, set at once and for both ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.follower = ConditionsFollower(file)

    def set(self, *links: LinkConditions) -> None:
        write_conditions(self._file, Conditions(links=links))
        self.follower.look()


@pytest.fixture
def weather(tmp_path: Path) -> Weather:
    return Weather(tmp_path / "conditions.json")


@pytest.fixture
async def ends(weather: Weather) -> AsyncIterator[tuple[Stream, Stream]]:
    """A's end and B's of one connection."""

    def end(connection: socket.socket, here: str, there: str) -> Stream:
        connection.setblocking(False)
        return ConditionedStream.around(Stream(connection, Address(there, 1)), here, weather.follower, Random(1))

    a, b = socket.socketpair()
    near, far = end(a, A, B), end(b, B, A)
    yield near, far
    near.close()
    far.close()


async def hears_nothing(stream: Stream, seconds: float = 5.0) -> bool:
    with trio.move_on_after(seconds):
        await stream.receive_some()
        return False
    return True


async def test_without_trouble_bytes_go_both_ways_and_the_end_is_seen(
    ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    await near.send_all(b"there")
    assert await far.receive_some() == b"there"
    await far.send_all(b"back")
    assert await near.receive_some() == b"back"

    far.close()

    with pytest.raises(LinkClosed):
        await near.receive_some()


async def test_a_cut_way_is_silent_and_what_was_sent_arrives_when_it_is_mended(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(A_TO_B)
    await near.send_all(b"one")
    await near.send_all(b"two")
    assert await hears_nothing(far)
    await far.send_all(b"back")
    assert await near.receive_some() == b"back", "the other way is as it was"

    weather.set()

    assert await far.receive_some() == b"onetwo"


async def test_a_cut_holds_what_comes_to_a_reader_that_waits_already(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    near, far = ends
    heard: list[bytes] = []

    async def hear() -> None:
        heard.append(await far.receive_some())

    nursery.start_soon(hear)
    await wait_all_tasks_blocked()
    weather.set(A_TO_B)
    await near.send_all(b"held")
    await trio.sleep(5)
    assert heard == []

    weather.set()
    await trio.sleep(1)

    assert heard == [b"held"]


async def test_nobody_sees_an_end_or_a_reset_through_a_cut(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(A_TO_B)
    near.close()

    assert await hears_nothing(far)
    for _ in range(3):
        await far.send_all(b"anybody there?")  # The kernel says: broken pipe. Who could have told us?

    weather.set()
    with pytest.raises(LinkClosed):
        await far.receive_some()


@pytest.mark.parametrize("way", [A_TO_B, B_TO_A])
async def test_each_end_gives_up_for_itself_after_ten_seconds(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock, way: LinkConditions
) -> None:
    for stream in ends:
        weather.set(way)
        began = trio.current_time()

        with pytest.raises(LinkClosed, match="timed out"):
            await stream.receive_some()

        assert trio.current_time() - began == pytest.approx(10, abs=0.2)
        weather.set()


async def test_a_cut_that_is_mended_in_time_is_forgotten(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    for _ in range(3):
        weather.set(A_TO_B)
        assert await hears_nothing(far, 6)
        weather.set()
        assert await hears_nothing(far, 6)

    await near.send_all(b"still here")
    assert await far.receive_some() == b"still here"


async def test_a_slow_way_delays_each_piece_and_not_one_behind_another(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    near, far = ends
    weather.set(LinkConditions(sender=A, receiver=B, delay_seconds=2.0))
    arrived: list[tuple[bytes, float]] = []
    began = trio.current_time()

    async def hear() -> None:
        while len(arrived) < 3:
            arrived.append((await far.receive_some(), trio.current_time() - began))

    nursery.start_soon(hear)
    for piece in (b"one", b"two", b"three"):
        await near.send_all(piece)
        await trio.sleep(0.5)
    await trio.sleep(5)

    assert [piece for piece, _ in arrived] == [b"one", b"two", b"three"]
    assert [at for _, at in arrived] == pytest.approx([2.0, 2.5, 3.0], abs=0.2)


async def test_what_was_sent_before_the_end_arrives_before_it(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(LinkConditions(sender=A, receiver=B, delay_seconds=2.0))
    await near.send_all(b"farewell")
    near.close()

    assert await far.receive_some() == b"farewell"
    with pytest.raises(LinkClosed):
        await far.receive_some()


async def test_what_is_on_its_way_when_it_is_cut_is_held_too(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(LinkConditions(sender=A, receiver=B, delay_seconds=2.0))
    await near.send_all(b"late")
    assert await hears_nothing(far, 1)

    weather.set(A_TO_B)
    await trio.sleep(5)

    assert await hears_nothing(far)
    weather.set()
    assert await far.receive_some() == b"late"


async def test_what_is_late_holds_up_what_is_behind_it(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(LinkConditions(sender=A, receiver=B, delay_seconds=5.0))
    await near.send_all(b"late")
    assert await hears_nothing(far, 1)
    weather.set()
    await near.send_all(b"quick")

    assert await far.receive_some() == b"late"
    assert await far.receive_some() == b"quick"


async def test_a_loss_stalls_the_way_and_keeps_the_order(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock
) -> None:
    near, far = ends
    weather.set(LinkConditions(sender=A, receiver=B, loss=0.9))
    began = trio.current_time()

    for piece in (b"one", b"two"):
        await near.send_all(piece)
        assert await far.receive_some() == piece

    assert trio.current_time() - began >= 0.2


def test_a_stall_is_twice_as_long_for_each_further_loss() -> None:
    drawn = [draw_stall(0.5, Random(seed)) for seed in range(300)]

    assert {round(stall, 1) for stall in drawn} == {0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6}
    assert 0.4 < drawn.count(0.0) / len(drawn) < 0.6
    assert draw_stall(0.0, Random(1)) == 0.0


async def test_who_dials_over_a_cut_is_not_told_that_nobody_listens(
    weather: Weather, autojump_clock: MockClock
) -> None:
    sockets = ConditionedSockets(weather.follower, Random(1))
    listener = listen(Address(B, 0))
    address = listener.address
    listener.close()
    weather.set(B_TO_A)

    with trio.move_on_after(5) as patience:
        await sockets.dial(address, local_host=A)

    assert patience.cancelled_caught
    weather.set()
    with pytest.raises(ConnectionRefused):
        await sockets.dial(address, local_host=A)


async def test_a_dialled_connection_is_known_by_both_hosts(weather: Weather) -> None:
    sockets = ConditionedSockets(weather.follower, Random(1))
    listener = listen(Address(B, 0))
    near = await sockets.dial(listener.address, local_host=A)
    far = await sockets.accept(listener)
    weather.set(A_TO_B)

    await near.send_all(b"held")
    await far.send_all(b"free")

    assert await near.receive_some() == b"free"
    assert await hears_nothing(far, 0.2)
    weather.set()
    assert await far.receive_some() == b"held"
    for end in (near, far, listener):
        end.close()


async def test_closing_here_ends_a_wait_here_also_behind_a_cut(
    weather: Weather, ends: tuple[Stream, Stream], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    near, _ = ends
    weather.set(B_TO_A)
    ended = trio.Event()

    async def hear() -> None:
        with pytest.raises(LinkClosed, match="closed here"):
            await near.receive_some()
        ended.set()

    nursery.start_soon(hear)
    await wait_all_tasks_blocked()
    near.close()

    with trio.fail_after(1):
        await ended.wait()
