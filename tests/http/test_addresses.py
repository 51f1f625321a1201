"""Addresses of APIs, as users type them."""

from __future__ import annotations

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.http.addresses import Address, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
        ("/run/x.sock", UnixAddress("/run/x.sock")),
        ("tcp://10.0.0.1:99", TcpAddress("10.0.0.1", 99)),
        ("tcp://[::1]:99", TcpAddress("::1", 99)),
        ("tcp://host", TcpAddress("host", 2375)),
        ("https://host", TcpAddress("host", 2376)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ssh://host", "use unix:///path"),
        ("unix://relative", "has to be absolute"),
        ("unix:///" + "x" * 107, "may have 107 bytes, .* has 108"),
        ("tcp://host:http", "cannot read the port"),
        ("tcp://host:99999", "below 65536"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(InvalidSpec, match=complaint):
        parse_address(text)
