"""Addresses, dialling and listening over TCP."""

from __future__ import annotations

import socket

import pytest
import trio

from raftswarm.errors import ConnectionRefused, InvalidSpec, LinkClosed, LinkError
from raftswarm.transport.sockets import Address, dial, listen, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2377", Address("127.0.0.1", 2377)),
        ("docker1:0", Address("docker1", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:x", "host:65536", "host:-1", "::1:80", "[]:1", "host:²"]
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidSpec, match="expected host:port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("docker1", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback


async def test_bytes_go_both_ways_and_the_end_is_noticed() -> None:
    listener = listen(Address("127.0.0.1", 0))
    near = await dial(listener.address, local_host="127.0.0.5")
    far = await listener.accept()
    assert far.remote.host == "127.0.0.5"

    await near.send_all(b"there")
    assert await far.receive_some() == b"there"
    await far.send_all(b"back")
    assert await near.receive_some() == b"back"
    near.close()
    with pytest.raises(LinkClosed, match="closed the connection"):
        await far.receive_some()
    far.close()
    listener.close()


async def test_closing_here_ends_a_wait_here() -> None:
    listener = listen(Address("127.0.0.1", 0))
    near = await dial(listener.address, local_host="")
    far = await listener.accept()

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(LinkClosed):
                await near.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        near.close()
    near.close()
    far.close()
    listener.close()


async def test_a_socket_that_got_the_very_port_it_dials_does_not_reach_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        free = Address(*reserved.getsockname())
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda self, _address: bind(self, (free.host, free.port)))

    with pytest.raises(ConnectionRefused):
        await dial(free, local_host="127.0.0.1")


async def test_an_address_that_is_not_ours_cannot_be_dialled_from_or_listened_on() -> None:
    with pytest.raises(LinkError, match="cannot reach"):
        await dial(Address("127.0.0.1", 1), local_host="192.0.2.1")
    with pytest.raises(LinkError, match="this machine does not have that address"):
        listen(Address("192.0.2.1", 0))
