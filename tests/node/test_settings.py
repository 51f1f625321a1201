"""Addresses: what Docker's CLI leaves open is the daemon's own (SWARM 10.2)."""

from __future__ import annotations

import pytest

from raftswarm.node.settings import own_address, split_address

OWN = "127.20.1.1:2377"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:7946", ("10.0.0.1", 7946)),
        ("10.0.0.1", ("10.0.0.1", 2377)),
        (":7946", ("", 7946)),
        ("[::1]:7946", ("[::1]", 7946)),
        ("[::1]", ("[::1]", 2377)),
    ],
)
def test_an_address_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["host:port", "host:65536", "host:-1", "host:"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|int"):
        split_address(text)


@pytest.mark.parametrize("asked", ["", "0.0.0.0:2377", "0.0.0.0", "[::]:2377", ":2377"])
def test_a_wildcard_stands_for_the_own_address(asked: str) -> None:
    assert own_address(asked, OWN) == OWN


@pytest.mark.parametrize(("asked", "taken"), [("10.0.0.1:99", "10.0.0.1:99"), ("10.0.0.1", "10.0.0.1:2377")])
def test_an_address_that_was_asked_for_is_taken(asked: str, taken: str) -> None:
    assert own_address(asked, OWN) == taken
