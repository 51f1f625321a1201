"""Commands and questions as bytes: golden, since members of one cluster have to agree on them (docs/formats.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from raftswarm.recipes import (
    RecipeMachine,
    ReplicatedCounter,
    ReplicatedDict,
    ReplicatedLock,
    ReplicatedQueue,
    ReplicatedSet,
)
from raftswarm.recipes.queue import Claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.recipes.conftest import LoneCluster


class Overhearing:
    """A cluster that keeps what it is asked, and answers nothing."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def propose(self, command: bytes) -> object:
        self.heard.append(command)
        return (0, 0, 0) if command[3] == 40 else None

    async def query(self, question: bytes) -> object:
        self.heard.append(question)
        return None


CALLS: list[tuple[Callable[[Overhearing], Awaitable[object]], str]] = [
    (lambda log: ReplicatedDict(log, "d").set("k", 1, fence=2), "c1 01 95 01 a164 a16b c40101 02"),
    (lambda log: ReplicatedDict(log, "d").delete(7), "c1 01 94 02 a164 07 00"),
    (lambda log: ReplicatedDict(log, "d").compare_and_set("k", None, "v"), "c1 01 96 03 a164 a16b c400 c402a176 00"),
    (lambda log: ReplicatedDict(log, "d").get("k"), "c1 01 93 01 a164 a16b"),
    (lambda log: ReplicatedSet(log, "s").add("e"), "c1 01 93 14 a173 a165"),
    (lambda log: ReplicatedSet(log, "s").discard("e"), "c1 01 93 15 a173 a165"),
    (lambda log: ReplicatedSet(log, "s").contains("e"), "c1 01 93 14 a173 a165"),
    (lambda log: ReplicatedQueue(log, "q").put("v"), "c1 01 93 1e a171 c402a176"),
    (lambda log: ReplicatedQueue(log, "q").take(), "c1 01 92 1f a171"),
    (lambda log: ReplicatedQueue(log, "q").claim(ttl_seconds=1e-7), "c1 01 93 20 a171 64"),
    (lambda log: ReplicatedQueue(log, "q").finish(Claim(9, "v")), "c1 01 93 21 a171 09"),
    (lambda log: ReplicatedLock(log, "l").acquire(ttl_seconds=1e-7, owner=b"o"), "c1 01 95 28 a16c c4016f a0 64"),
    (lambda log: ReplicatedLock(log, "l").renew(9, ttl_seconds=1e-7), "c1 01 94 29 a16c 09 64"),
    (lambda log: ReplicatedLock(log, "l").release(9), "c1 01 93 2a a16c 09"),
    (lambda log: ReplicatedLock(log, "l").holder(), "c1 01 92 28 a16c"),
]


@pytest.mark.parametrize(("call", "golden"), CALLS, ids=[golden for _, golden in CALLS])
async def test_requests_are_these_bytes(call: Callable[[Overhearing], Awaitable[object]], golden: str) -> None:
    log = Overhearing()

    await call(log)

    assert log.heard == [bytes.fromhex(golden)]


async def test_a_snapshot_is_these_records(cluster: LoneCluster) -> None:
    await ReplicatedDict(cluster, "d").set("k", 1, fence=2)
    await ReplicatedCounter(cluster, "c").add(5)
    await ReplicatedSet(cluster, "s").add("e")
    await ReplicatedQueue(cluster, "q").put("v")
    await ReplicatedQueue(cluster, "q").put("w")
    await ReplicatedQueue(cluster, "q").take()
    await ReplicatedLock(cluster, "l").acquire(ttl_seconds=1, owner=b"o", name="me")
    data = b"".join(cluster.machine.capture().chunks())

    records = []
    while data:
        length = int.from_bytes(data[:4], "little")
        records.append(msgspec.msgpack.decode(data[4 : 4 + length]))
        data = data[4 + length :]

    (magic, version, time_ns, count), *objects = records
    assert (magic, version, count) == (b"raftswarm recipes", 1, 5)
    names, states = zip(*objects, strict=True)
    assert names == ("c", "d", "l", "q", "s")
    assert list(states) == [
        ["counter", 5],
        ["dict", {"k": b"\x01"}, 2],
        ["lock", 7, b"o", "me", time_ns + 10**9],
        ["queue", [[b"\xa1w", 5]], {}, 0],
        ["set", {"e": None}],
    ]


def test_an_empty_machine_has_a_snapshot() -> None:
    machine = RecipeMachine()

    machine.restore(machine.capture().chunks())

    assert b"".join(machine.capture().chunks()) == b"".join(RecipeMachine().capture().chunks())
