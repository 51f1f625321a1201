"""A published port answers on its node and leads to the tasks (user-space proxy on real loopback sockets)."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.network.proxy import Proxy
from raftswarm.objects.specs import PortConfig
from raftswarm.wire.requests import Backend, Route
from raftswarm.world.real_ports import RealPorts

PORT = 8080
TASK_PORT = 8000


_fresh = count(1)


@pytest.fixture
def fresh() -> Callable[[], str]:
    """Loopback addresses that nobody else uses, another run beside this one included."""
    return lambda: f"127.{200 + os.getpid() % 50}.{next(_fresh)}.1"


def route(*hosts: str, port: int = PORT, protocol: str = "tcp") -> Route:
    return Route(
        service_id="s1",
        port=PortConfig(protocol=protocol, target_port=TASK_PORT, published_port=port),
        backends=tuple(Backend(task_id=host, address=host) for host in hosts),
    )


@attrs.frozen
class Running:
    """A proxy that runs, on an address of its own."""

    proxy: Proxy
    address: str

    async def set_routes(self, *routes: Route) -> None:
        self.proxy.set_routes(routes)
        await wait_all_tasks_blocked()

    async def connect(self, port: int = PORT) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.address, port)

    async def ask(self, port: int = PORT) -> bytes:
        """Send an end-of-file and return all that comes."""
        async with await self.connect(port) as stream:
            await stream.send_eof()
            return await read_all(stream)


@pytest.fixture
async def running(nursery: trio.Nursery, fresh: Callable[[], str]) -> Running:
    return await start_proxy(nursery, fresh())


async def start_proxy(nursery: trio.Nursery, address: str, max_connections: int = 100) -> Running:
    proxy = Proxy(address, RealPorts(), max_connections=max_connections)
    nursery.start_soon(proxy.run)
    await wait_all_tasks_blocked()
    return Running(proxy, address)


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([data async for data in stream])


async def start_task(
    nursery: trio.Nursery, host: str, handler: Callable[[trio.SocketStream], Awaitable[None]] | None = None
) -> None:
    """Listen as a task does; by default it waits for the end of what comes and answers with its address."""

    async def tell_address(stream: trio.SocketStream) -> None:
        async with stream:
            await read_all(stream)
            await stream.send_all(host.encode())

    await nursery.start(partial(trio.serve_tcp, handler or tell_address, TASK_PORT, host=host))


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def test_connections_are_spread_round_robin(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    hosts = [fresh() for _ in range(3)]
    for host in hosts:
        await start_task(nursery, host)

    await running.set_routes(route(*hosts))

    assert [(await running.ask()).decode() for _ in range(6)] == hosts * 2


async def test_a_task_that_refuses_is_skipped(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    dead, alive = fresh(), fresh()
    await start_task(nursery, alive)

    await running.set_routes(route(dead, alive))

    assert [(await running.ask()).decode() for _ in range(3)] == [alive] * 3


async def test_a_task_that_refused_is_left_in_peace_for_a_second(
    nursery: trio.Nursery, mock_clock: MockClock, running: Running, fresh: Callable[[], str]
) -> None:
    late, alive = fresh(), fresh()
    await start_task(nursery, alive)
    await running.set_routes(route(late, alive))
    await running.ask()

    await start_task(nursery, late)
    assert [(await running.ask()).decode() for _ in range(2)] == [alive] * 2

    mock_clock.jump(1)
    assert {(await running.ask()).decode() for _ in range(2)} == {late, alive}


async def test_without_a_task_a_connection_is_closed(running: Running, fresh: Callable[[], str]) -> None:
    await running.set_routes(route(), route(fresh(), port=PORT + 1))

    assert await running.ask() == b""
    assert await running.ask(PORT + 1) == b""


async def test_bytes_arrive_as_they_were_sent(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    host = fresh()
    await start_task(nursery, host, echo)
    await running.set_routes(route(host))
    sent = bytes(range(256)) * 4000

    async with await running.connect() as stream:
        nursery.start_soon(send_and_end, stream, sent)
        received = await read_all(stream)

    assert received == sent


async def send_and_end(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def test_a_task_that_ends_its_side_still_hears_the_client(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    host, heard, received = fresh(), trio.Event(), bytearray()

    async def end_first(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_eof()
            received.extend(await read_all(stream))
            heard.set()

    await start_task(nursery, host, end_first)
    await running.set_routes(route(host))

    async with await running.connect() as stream:
        assert await read_all(stream) == b""
        await send_and_end(stream, b"late words")
        await heard.wait()

    assert received == b"late words"


async def test_a_task_that_dies_ends_its_connection_and_no_other(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    mortal, other = fresh(), fresh()

    async def die(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # Close with a reset.
        stream.socket.close()

    await start_task(nursery, mortal, die)
    await start_task(nursery, other, echo)
    await running.set_routes(route(mortal, other))

    async with await running.connect() as first, await running.connect() as second:
        await first.send_all(b"x")
        assert await read_all(first) == b""
        await second.send_all(b"y")
        assert await second.receive_some() == b"y"


async def test_connections_outlive_their_route(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    host = fresh()
    await start_task(nursery, host, echo)
    await running.set_routes(route(host))

    async with await running.connect() as stream:
        await stream.send_all(b"before")
        assert await stream.receive_some() == b"before"
        await running.set_routes()
        await stream.send_all(b"after")
        assert await stream.receive_some() == b"after"

    with pytest.raises(OSError, match="all attempts to connect"):
        await running.connect()


async def test_new_backends_serve_the_next_connection(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    old, new = fresh(), fresh()
    await start_task(nursery, old)
    await start_task(nursery, new)
    await running.set_routes(route(old))
    assert await running.ask() == old.encode()

    await running.set_routes(route(new))

    assert await running.ask() == new.encode()


async def test_a_removed_route_can_come_back(nursery: trio.Nursery, running: Running, fresh: Callable[[], str]) -> None:
    host = fresh()
    await start_task(nursery, host)
    await running.set_routes(route(host))
    await running.set_routes()

    await running.set_routes(route(host))

    assert await running.ask() == host.encode()


async def test_a_port_in_use_is_taken_when_it_is_free_and_keeps_no_other_waiting(
    nursery: trio.Nursery, mock_clock: MockClock, running: Running, fresh: Callable[[], str]
) -> None:
    host = fresh()
    await start_task(nursery, host)
    with socket.create_server((running.address, PORT)):
        await running.set_routes(route(host), route(host, port=PORT + 1))
        assert await running.ask(PORT + 1) == host.encode()

    mock_clock.jump(1)
    await wait_all_tasks_blocked()

    assert await running.ask() == host.encode()


async def test_routes_may_come_before_the_proxy_runs(nursery: trio.Nursery, fresh: Callable[[], str]) -> None:
    host, address = fresh(), fresh()
    await start_task(nursery, host)
    proxy = Proxy(address, RealPorts())
    proxy.set_routes([route(host)])
    nursery.start_soon(proxy.run)
    await wait_all_tasks_blocked()

    assert await Running(proxy, address).ask() == host.encode()


async def test_two_nodes_publish_the_same_port(
    nursery: trio.Nursery, running: Running, fresh: Callable[[], str]
) -> None:
    host = fresh()
    await start_task(nursery, host)
    other = await start_proxy(nursery, fresh())

    await running.set_routes(route(host))
    await other.set_routes(route(host))

    assert await running.ask() == await other.ask() == host.encode()


async def test_what_is_not_tcp_is_left_out(nursery: trio.Nursery, running: Running, fresh: Callable[[], str]) -> None:
    host = fresh()
    await start_task(nursery, host)

    await running.set_routes(route(host, protocol="udp"), route(host, port=PORT + 1))

    assert await running.ask(PORT + 1) == host.encode()
    with pytest.raises(OSError, match="all attempts to connect"):
        await running.connect()


async def test_connections_are_bounded_and_the_next_waits_for_room(
    nursery: trio.Nursery, fresh: Callable[[], str]
) -> None:
    host = fresh()
    await start_task(nursery, host, echo)
    running = await start_proxy(nursery, fresh(), max_connections=1)
    await running.set_routes(route(host))

    first, second = await running.connect(), await running.connect()
    await first.send_all(b"1")
    assert await first.receive_some() == b"1"
    await second.send_all(b"2")
    await wait_all_tasks_blocked(0.01)
    with trio.move_on_after(0.01) as impatience:
        await second.receive_some()
    assert impatience.cancelled_caught

    await first.aclose()
    assert await second.receive_some() == b"2"
    await second.aclose()
