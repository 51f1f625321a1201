"""With credentials, any certificate of the cluster's root may be a client, and no other (SWARM 10.1)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

import raftswarm
from raftswarm.ca import (
    MANAGER,
    WORKER,
    Credentials,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
)
from raftswarm.raft.settings import RaftSettings
from tests.consensus.conftest import Journal

QUICK = RaftSettings(heartbeat_seconds=0.05, election_seconds=0.4)

Issue = Callable[[str, str], Credentials]


def make_root() -> Issue:
    """Found a root; return what issues certificates under it."""
    now_ns = time.time_ns()
    root_key = new_key(os.urandom(48))
    root = create_root(root_key, now_ns=now_ns, serial_bytes=os.urandom(16))

    def issue(name: str, role: str) -> Credentials:
        key = new_key(os.urandom(48))
        certificate = issue_certificate(
            make_signing_request(key),
            Identity(name, role, "cluster"),
            root=root,
            root_key=key_to_pem(root_key),
            now_ns=now_ns,
            serial_bytes=os.urandom(16),
        )
        return Credentials(certificate, key_to_pem(key), root)

    return issue


@pytest.fixture
def issue() -> Issue:
    return make_root()


@pytest.fixture
async def address(tmp_path: Path, issue: Issue) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    async with raftswarm.open_member(
        tmp_path, Journal(), name="a", members={"a": where}, credentials=issue("a", MANAGER), settings=QUICK
    ):
        yield where


@pytest.mark.parametrize("role", [WORKER, MANAGER])
async def test_a_certificate_of_any_role_will_do(address: str, issue: Issue, role: str) -> None:
    with trio.fail_after(10):
        async with raftswarm.connect([address], credentials=issue("program", role)) as client:
            assert await client.propose(b"one") == 1


async def test_a_certificate_of_another_root_will_not(address: str) -> None:
    stranger = make_root()("program", WORKER)
    async with raftswarm.connect([address], credentials=stranger, timeout_seconds=0.5) as client:
        with pytest.raises(raftswarm.NotLeader, match=r"nothing was sent: .*certificate"):
            await client.propose(b"one")


async def test_a_plain_client_is_not_let_in(address: str) -> None:
    async with raftswarm.connect([address], timeout_seconds=0.5) as client:
        with pytest.raises(raftswarm.NotLeader, match="nothing was sent"):
            await client.propose(b"one")
