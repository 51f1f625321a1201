"""Builders for links: a swarm's root, certificates of its nodes, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count

import attrs
import pytest

from raftswarm.ca import (
    MANAGER,
    Credentials,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
)

NOW_NS = 1_800_000_000 * 1_000_000_000


@attrs.define
class SetClock:
    time_ns: int = NOW_NS

    def now_ns(self) -> int:
        return self.time_ns


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def make_credentials() -> Callable[..., Credentials]:
    """Certificates under one root; with `swarm`, under another swarm's."""
    numbers = count(1)

    def number_bytes(size: int) -> bytes:
        return next(numbers).to_bytes(size, "big")

    roots: dict[str, tuple[str, str]] = {}

    def make(
        node_id: str = "alice",
        role: str = MANAGER,
        *,
        swarm: str = "ours",
        cluster_id: str = "cluster",
        issued_ns: int = NOW_NS,
        validity: timedelta = timedelta(days=90),
    ) -> Credentials:
        if swarm not in roots:
            root_key = new_key(number_bytes(48))
            roots[swarm] = (
                create_root(root_key, now_ns=NOW_NS, serial_bytes=number_bytes(16)),
                key_to_pem(root_key),
            )
        root, root_key_pem = roots[swarm]
        key = new_key(number_bytes(48))
        certificate = issue_certificate(
            make_signing_request(key),
            Identity(node_id, role, cluster_id),
            root=root,
            root_key=root_key_pem,
            now_ns=issued_ns,
            serial_bytes=number_bytes(16),
            validity=validity,
        )
        return Credentials(certificate, key_to_pem(key), root)

    return make
