"""A root, made once."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.ca import create_root, key_to_pem, new_key

NOW_NS = 1_800_000_000 * 1_000_000_000
"""2027-01-15T08:00:00Z."""


@attrs.frozen
class Root:
    certificate: str
    key: str


def make_root(number: int) -> Root:
    key = new_key(number.to_bytes(48, "big"))
    return Root(create_root(key, now_ns=NOW_NS, serial_bytes=number.to_bytes(16, "big")), key_to_pem(key))


@pytest.fixture(scope="session")
def root() -> Root:
    return make_root(1)


@pytest.fixture(scope="session")
def other_root() -> Root:
    return make_root(2)
