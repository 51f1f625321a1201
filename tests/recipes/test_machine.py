"""The machine that hosts all recipes: names, kinds, snapshots, and bytes that are no recipe's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from raftswarm.errors import CorruptLog, ForeignState, Rejected
from raftswarm.raft.state_machine import CHUNK_BYTES, Context
from raftswarm.recipes import (
    RecipeMachine,
    ReplicatedCounter,
    ReplicatedDict,
    ReplicatedLock,
    ReplicatedQueue,
    ReplicatedSet,
)
from raftswarm.recipes.requests import MARK, VERSION, UnknownRequestVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from tests.recipes.conftest import LoneCluster

CONTEXT = Context(command_number=1, time_ns=1, index=1, term=1)
HEAD = bytes((MARK, VERSION))


def snapshot(machine: RecipeMachine) -> bytes:
    return b"".join(machine.capture().chunks())


async def use_everything(cluster: LoneCluster) -> None:
    await ReplicatedDict(cluster, "d").set("k", [1], fence=3)
    await ReplicatedDict(cluster, "d").set(1, "v")
    await ReplicatedCounter(cluster, "c").add(-7)
    await ReplicatedSet(cluster, "s").add("a")
    for number in range(3):
        await ReplicatedQueue(cluster, "q").put(number)
    await ReplicatedQueue(cluster, "q").take()
    await ReplicatedQueue(cluster, "q").claim(ttl_seconds=60)
    await ReplicatedLock(cluster, "l").acquire(ttl_seconds=60, owner=b"me", name="me")


async def test_objects_of_any_kinds_live_side_by_side_and_through_snapshots(
    cluster: LoneCluster, autojump_clock: MockClock
) -> None:
    await use_everything(cluster)
    before = snapshot(cluster.machine)
    cluster.restart()

    assert snapshot(cluster.machine) == before
    assert await ReplicatedDict(cluster, "d").items() == {"k": [1], 1: "v"}
    assert await ReplicatedCounter(cluster, "c").value() == -7
    assert await ReplicatedSet(cluster, "s").members() == {"a"}
    assert await ReplicatedQueue(cluster, "q").take() == 2
    holder = await ReplicatedLock(cluster, "l").holder()
    assert holder is not None
    assert holder.name == "me"


async def test_a_picture_stays_as_it_was(cluster: LoneCluster, autojump_clock: MockClock) -> None:
    await use_everything(cluster)
    before = snapshot(cluster.machine)
    picture = cluster.machine.capture()

    await use_everything(cluster)
    await trio.sleep(100)
    await use_everything(cluster)
    await ReplicatedDict(cluster, "d").set("later", 1)
    await ReplicatedSet(cluster, "s").add("later")

    assert b"".join(picture.chunks()) == before


async def test_what_holds_nothing_is_forgotten_and_its_name_free(
    cluster: LoneCluster, autojump_clock: MockClock
) -> None:
    empty = snapshot(cluster.machine)
    tags, visits, jobs = ReplicatedSet(cluster, "x"), ReplicatedCounter(cluster, "x"), ReplicatedQueue(cluster, "x")

    await tags.add("a")
    await tags.discard("a")
    await visits.add()
    await visits.add(-1)
    await jobs.put(1)
    await jobs.take()
    async with ReplicatedLock(cluster, "x").hold(ttl_seconds=10):
        pass
    await ReplicatedDict(cluster, "x").delete("k")

    assert len(snapshot(cluster.machine)) <= len(empty) + 8, "only the time has moved"


async def test_an_object_of_another_kind_is_refused_and_named(cluster: LoneCluster) -> None:
    await ReplicatedDict(cluster, "votes").set("k", 1)

    with pytest.raises(Rejected, match="'votes' is a dict, and cannot be used as a counter"):
        await ReplicatedCounter(cluster, "votes").add()
    with pytest.raises(Rejected, match="'votes' is a dict, and cannot be used as a lock"):
        await ReplicatedLock(cluster, "votes").holder()


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"hello",
        HEAD,
        HEAD + b"\x00",
        HEAD + msgspec.msgpack.encode([99, "name"]),
        HEAD + msgspec.msgpack.encode([1, "name"]),
        HEAD + msgspec.msgpack.encode([1, "name", "key", b"\xc1"]),
        HEAD + msgspec.msgpack.encode([1, "name", "key", b""]),
        HEAD + msgspec.msgpack.encode([1, "name", "key", b"\x01", 0, "more"]),
        HEAD + msgspec.msgpack.encode([1, "name", 1.5, b"\x01", 0]),
        HEAD + msgspec.msgpack.encode([3, "name", "key", b"", b"\x81\x80\x01", 0]),
        HEAD + msgspec.msgpack.encode([32, "name", -5]),
        HEAD + msgspec.msgpack.encode([32, "name", 2**63]),
        HEAD + msgspec.msgpack.encode([40, "name", b"", "", 1]),
        HEAD + b"\x93" + b"\x91" * 5000,
    ],
)
def test_bytes_that_make_no_sense_are_refused_and_change_nothing(command: bytes) -> None:
    machine = RecipeMachine()
    before = snapshot(machine)

    with pytest.raises(Rejected):
        machine.apply(command, CONTEXT)
    with pytest.raises(Rejected):
        machine.query(command)
    assert snapshot(machine) == before


def test_a_command_of_another_release_stops_the_member() -> None:
    with pytest.raises(UnknownRequestVersion, match="use a newer one"):
        RecipeMachine().apply(bytes((MARK, VERSION + 1)), CONTEXT)


async def test_large_states_travel_in_pieces(cluster: LoneCluster) -> None:
    votes = ReplicatedDict(cluster, "votes")
    for number in range(10):
        await votes.set(number, bytes(100_000))

    assert max(map(len, cluster.machine.capture().chunks())) <= CHUNK_BYTES
    cluster.restart()
    assert len(await votes.items()) == 10


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda data: data[:0], CorruptLog),
        (lambda data: data[:-1], CorruptLog),
        (lambda data: data[: data.rindex(b"\x00\x00\x00")], CorruptLog),
        (lambda data: data + b"\x01", CorruptLog),
        (lambda data: data.replace(b"counter", b"cOunter"), CorruptLog),
        (lambda data: data.replace(b"raftswarm recipes", b"raftswarm_recipes"), ForeignState),
    ],
)
async def test_a_spoiled_snapshot_is_refused(
    cluster: LoneCluster, spoil: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    await ReplicatedCounter(cluster, "c").add()

    with pytest.raises(error):
        RecipeMachine().restore([spoil(snapshot(cluster.machine))])


@pytest.mark.parametrize("name", ["", "x" * 257, None, 7])
def test_what_cannot_be_a_name_is_refused(cluster: LoneCluster, name: str) -> None:
    with pytest.raises(Exception, match="cannot be a name"):
        ReplicatedCounter(cluster, name)
