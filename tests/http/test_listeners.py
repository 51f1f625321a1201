"""Sockets that an API is served on: private, never stolen, never open to the world by mistake."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.http.addresses import TcpAddress, UnixAddress
from raftswarm.http.listeners import bound_address, open_listener


async def test_a_unix_socket_is_private_and_goes_with_its_listener(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"

    async with open_listener(UnixAddress(str(path))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert not path.exists()


async def test_a_socket_left_behind_is_replaced_and_a_served_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with open_listener(UnixAddress(str(path))):
        path.rename(tmp_path / "left-behind.sock")
    (tmp_path / "left-behind.sock").rename(path)

    async with open_listener(UnixAddress(str(path))):
        with pytest.raises(InvalidSpec, match="another process serves it"):
            async with open_listener(UnixAddress(str(path))):
                pass


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(InvalidSpec, match="not a socket"):
        async with open_listener(UnixAddress(str(path))):
            pass

    assert path.read_text() == "data"


async def test_plain_tcp_is_served_on_loopback_only_and_only_when_asked() -> None:
    for address, plain_tcp in ((TcpAddress("127.0.0.1", 0), False), (TcpAddress("0.0.0.0", 0), True)):
        with pytest.raises(InvalidSpec, match="needs TLS"):
            async with open_listener(address, plain_tcp=plain_tcp):
                pass
    async with open_listener(TcpAddress("127.0.0.1", 0), plain_tcp=True) as listener:
        assert isinstance(bound_address(listener), TcpAddress)


async def test_a_port_in_use_is_named() -> None:
    async with open_listener(TcpAddress("127.0.0.1", 0), plain_tcp=True) as listener:
        taken = bound_address(listener)
        with pytest.raises(InvalidSpec, match=rf"cannot listen on {taken}"):
            async with open_listener(taken, plain_tcp=True):
                pass
