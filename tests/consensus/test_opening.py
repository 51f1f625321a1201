"""Opening a member on a real disk and real links, rightly and wrongly: bad use gets one clear error, never a hang."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from raftswarm.consensus.client import connect
from raftswarm.consensus.host import open_member
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.memory_cluster import open_cluster
from raftswarm.consensus.opening import found
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import (
    ForeignState,
    InvalidSpec,
    LinkError,
    MachineFailed,
    OutcomeUnknown,
    RaftSwarmError,
    Regressed,
    StateInUse,
)
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Captured
from raftswarm.storage.member_storage import Recovered
from tests.consensus.conftest import Journal, free_address, free_addresses

QUICK = RaftSettings(heartbeat_seconds=0.05, election_seconds=0.4)


@asynccontextmanager
async def open_alone(directory: Path, machine: Journal | None = None) -> AsyncIterator[RaftMember]:
    machine = machine or Journal()
    async with open_member(directory, machine, name="a", members={"a": free_address()}, settings=QUICK) as member:
        with trio.fail_after(10):
            await member.wait_gained()
        yield member


async def leader_of(members: list[RaftMember]) -> RaftMember:
    """Return the one of them that leads, as soon as one does."""
    leaders: list[RaftMember] = []

    async def wait(member: RaftMember) -> None:
        await member.wait_gained()
        leaders.append(member)
        nursery.cancel_scope.cancel()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(wait, member)
    return leaders[0]


async def stay_until_it_stops(directory: Path, machine: Journal, addresses: dict[str, str]) -> None:
    """Run member a for as long as it does."""
    async with open_member(directory, machine, name="a", members=addresses, settings=QUICK):
        with trio.fail_after(10):
            await trio.sleep_forever()


async def test_a_member_goes_on_where_it_was(tmp_path: Path) -> None:
    async with open_alone(tmp_path) as member:
        assert await member.propose(b"x") == 1

    machine = Journal()
    async with open_alone(tmp_path, machine) as member:
        assert await member.propose(b"y") == 2
    assert machine.lines == [b"x", b"y"]


async def test_an_error_of_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_alone(tmp_path):
            raise KeyError("mine")


# Arguments.


async def test_what_a_member_is_told_must_not_contradict_itself(tmp_path: Path) -> None:
    two = {"a": "127.0.0.1:7001", "b": "127.0.0.1:7002"}

    async def refused(name: str, members: dict[str, str] | None, address: str | None, match: str) -> None:
        with pytest.raises(InvalidSpec, match=match):
            async with open_member(tmp_path, Journal(), name=name, members=members, address=address):
                pytest.fail("it was opened")

    await refused("c", two, None, "c is not among the members a, b")
    await refused("a", None, None, "say where the member listens")
    await refused("a", two, "127.0.0.1:7003", "leave `address` out")
    await refused("a", {"a": "127.0.0.1:7001", "b": "127.0.0.1:7001"}, None, "two of the members have the same address")
    await refused("", two, None, "needs a name")
    await refused("a", {"a": "127.0.0.1"}, None, "127.0.0.1")
    await refused("a", {"a": "192.0.2.1:7001"}, None, "not a loopback address")


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(LinkError, match=f"cannot listen on {address}"):
            async with open_member(tmp_path, Journal(), name="a", members={"a": address}):
                pytest.fail("it was opened")


# Directories.


async def test_a_directory_has_one_user_at_a_time(tmp_path: Path) -> None:
    async with open_alone(tmp_path):
        with pytest.raises(StateInUse, match="another process uses"):
            async with open_alone(tmp_path):
                pytest.fail("it was opened")


async def test_a_directory_belongs_to_one_member_of_one_cluster(tmp_path: Path) -> None:
    async with open_alone(tmp_path):
        pass

    with pytest.raises(ForeignState, match="holds a member of cluster 'embedded', not of 'other'"):
        async with open_member(tmp_path, Journal(), name="a", address=free_address(), cluster="other"):
            pytest.fail("it was opened")
    with pytest.raises(ForeignState, match="belongs to member a, not to b"):
        async with open_member(tmp_path, Journal(), name="b", address=free_address()):
            pytest.fail("it was opened")
    async with open_member(tmp_path, Journal(), name="a", address=free_address(), settings=QUICK) as member:
        await member.wait_gained()


async def test_members_that_were_told_different_things_do_not_take_each_other_for_peers() -> None:
    two = {"a": "127.0.0.1:7001", "b": "127.0.0.1:7002"}

    told = found("one", "a", two, None)

    assert told.members == found("one", "b", dict(reversed(two.items())), None).members
    for cluster, members in (("two", two), ("one", two | {"c": "127.0.0.1:7003"}), ("one", two | {"b": "127.0.0.1:1"})):
        assert found(cluster, "a", members, None).member_id != told.member_id


# State machines that raise.


async def test_a_machine_that_raises_stops_its_member_naming_the_command(tmp_path: Path) -> None:
    addresses = free_addresses("a")

    async def fail() -> None:
        async with open_member(tmp_path, Journal(), name="a", members=addresses, settings=QUICK) as member:
            await member.wait_gained()
            await member.propose(b"x")
            with pytest.raises(OutcomeUnknown, match="at command 2"):
                await member.propose(b"fail")
            await trio.sleep_forever()

    with pytest.raises(MachineFailed, match=r"at command 2 .*ZeroDivisionError: as it was told to") as caught:
        await fail()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(MachineFailed, match="at command 2"):
        await stay_until_it_stops(tmp_path, Journal(), addresses)


async def test_what_the_block_makes_of_it_does_not_hide_why_a_member_stopped(tmp_path: Path) -> None:
    with pytest.raises(MachineFailed, match="at command 1"):
        async with open_alone(tmp_path) as member:
            await member.propose(b"fail")


async def test_the_others_go_on_if_their_machines_do(tmp_path: Path) -> None:
    class Tolerant(Journal):
        def apply(self, command: bytes, context: object) -> object:
            return "skipped" if command == b"fail" else super().apply(command, context)  # type: ignore[arg-type]

    addresses = free_addresses("abc")
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(
                open_member(tmp_path / name, Tolerant(), name=name, members=addresses, settings=QUICK)
            )
            for name in "bc"
        ]
        leader = await leader_of(others)
        assert await leader.propose(b"fail") == "skipped"

        with pytest.raises(MachineFailed, match="at command 1"):
            await stay_until_it_stops(tmp_path / "a", Journal(), addresses)

        assert await leader.propose(b"x") == 1


async def test_a_machine_that_cannot_be_captured_or_restored_is_named_too(tmp_path: Path) -> None:
    class Uncapturable(Journal):
        def capture(self) -> Captured:
            raise ZeroDivisionError("no picture")

    with pytest.raises(MachineFailed, match=r"while capturing the state at entry .* no picture"):
        await fill(tmp_path / "a", Uncapturable())

    class Unrestorable(Journal):
        def restore(self, chunks: object) -> None:
            del chunks
            raise ZeroDivisionError("no way back")

    await fill(tmp_path / "b", Journal())

    class Unpreparable(Journal):
        def prepare_restore(self, chunks: object) -> Callable[[], object]:
            del chunks
            raise ZeroDivisionError("no way back")

    for machine in (Unrestorable(), Unpreparable()):
        with pytest.raises(MachineFailed, match=r"while restoring the snapshot up to entry .* no way back"):
            await fill(tmp_path / "b", machine)
    assert list_open_files(tmp_path) == []


async def test_a_start_reads_the_snapshot_where_the_loop_does_not_wait_and_restores_it_on_the_loop(
    tmp_path: Path,
) -> None:
    class Aside(Journal):
        where: ClassVar[list[threading.Thread]] = []

        def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], object]:
            picture = list(chunks)
            self.where.append(threading.current_thread())

            def put_in_place() -> None:
                self.where.append(threading.current_thread())
                self.restore(picture)

            return put_in_place

    filled, machine = Journal(), Aside()
    await fill(tmp_path, filled)

    async with open_alone(tmp_path, machine):
        reading, restoring = machine.where

    assert reading is not threading.current_thread()
    assert restoring is threading.current_thread()
    assert machine.lines == filled.lines


async def test_nobody_holds_what_a_member_recovered_once_it_runs(tmp_path: Path) -> None:
    await fill(tmp_path, Journal())

    async with open_alone(tmp_path) as member:
        await member.propose(b"x")

        gc.collect()
        held = [found for found in gc.get_objects() if isinstance(found, Recovered)]

    assert held == []


def list_open_files(directory: Path) -> list[Path]:
    opened = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return [path for path in opened if path.is_relative_to(directory)]


async def fill(directory: Path, machine: Journal) -> None:
    """Propose enough for a snapshot."""
    async with open_alone(directory, machine) as member:
        await member.propose_many([b"x"] * 10_001)
        while not list((directory / "raft" / "snapshots").glob("*.saved")):
            await member.propose(b"x")


# Disks that were set back.


async def test_a_member_that_was_wiped_or_set_back_is_told_and_can_be_added_anew(tmp_path: Path) -> None:
    addresses = free_addresses("abc")

    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(
                open_member(tmp_path / name, Journal(), name=name, members=addresses, settings=QUICK)
            )
            for name in "bc"
        ]
        async with open_member(tmp_path / "a", Journal(), name="a", members=addresses, settings=QUICK) as member:
            await (await leader_of([*others, member])).propose(b"x")
            with trio.fail_after(10):
                await member.applied.wait_until(lambda applied: applied == 1)
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        async with open_member(tmp_path / "a", Journal(), name="a", members=addresses, settings=QUICK) as member:
            await (await leader_of([*others, member])).propose(b"y")
            with trio.fail_after(10):
                await member.applied.wait_until(lambda applied: applied == 2)

        for old in (tmp_path / "copy", tmp_path / "empty"):
            with pytest.raises(Regressed, match="Remove this member on the leader, empty its directory"):
                await stay_until_it_stops(old, Journal(), addresses)

        leader = await leader_of(others)
        await leader.remove_member("a")
        anew = open_member(tmp_path / "anew", Journal(), name="a", address=addresses["a"], settings=QUICK)
        member = await stack.enter_async_context(anew)
        with trio.fail_after(10):
            await leader.add_member("a", addresses["a"])
            await member.applied.wait_until(lambda applied: applied == 2)
            assert await member.query(b"") == [b"x", b"y"]


# Removal.


async def test_a_member_that_is_removed_while_proposing_ends_every_call(tmp_path: Path) -> None:
    addresses = free_addresses("abc")
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(
                open_member(tmp_path / name, Journal(), name=name, members=addresses, settings=QUICK)
            )
            for name in "abc"
        ]
        leader = await leader_of(members)
        acknowledged: list[bytes] = []

        async def write(writer: int) -> None:
            for number in range(1_000_000):
                command = b"%d/%d" % (writer, number)
                try:
                    await leader.propose(command)
                except RaftSwarmError:
                    return
                acknowledged.append(command)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for writer in range(10):
                    nursery.start_soon(write, writer)
                await leader.applied.wait_until(lambda applied: applied > 100)
                await leader.remove_member(leader.name)
            successor = await leader_of([member for member in members if member is not leader])
            state = await successor.query(b"")
        assert isinstance(state, list)
        assert set(acknowledged) <= set(state)
        assert len(set(state)) == len(state)


class Half:
    """Forgot to restore."""

    def apply(self, command: bytes, context: object) -> None: ...

    def capture(self) -> Captured:
        return Captured(b"")


class Awaiting(Journal):
    async def query(self, question: bytes) -> object: ...


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        (Half(), "a state machine has a method restore, and Half has none"),
        (Journal, r"the state machine is an object, not a class: pass Journal\(\)"),
        (Awaiting(), r"Awaiting\.query is async"),
        (None, "NoneType has none"),
    ],
)
async def test_what_is_no_state_machine_is_refused_before_it_can_stop_every_member(
    tmp_path: Path, machine: Journal, complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        async with open_member(tmp_path, machine, name="a", members={"a": free_address()}):
            pass
    assert not (tmp_path / "raft").exists()


@pytest.mark.parametrize(
    ("name", "members", "complaint"),
    [
        (5, {5: "127.0.0.1:7000"}, "name is a str, not int"),
        ("a", ["a"], "members maps names to addresses; list does not"),
        ("a", {"a": "127.0.0.1:7000", "b": None}, "each name and address in members is a str, not NoneType"),
    ],
)
async def test_names_and_addresses_are_text(tmp_path: Path, name: str, members: dict[str, str], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        async with open_member(tmp_path, Journal(), name=name, members=members):
            pass


async def test_a_founding_member_has_a_port(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"the others could not find 127\.0\.0\.1:0: choose a port"):
        async with open_member(tmp_path, Journal(), name="a", members={"a": "127.0.0.1:0"}):
            pass


def test_a_program_that_is_not_trio_is_told_where_to_go(tmp_path: Path) -> None:
    async def open_it() -> None:
        async with open_member(tmp_path, Journal(), name="a", members={"a": free_address()}):
            pass

    async def connect_it() -> None:
        async with connect(["127.0.0.1:7000"]):
            pass

    async def open_in_memory() -> None:
        async with open_cluster(Journal):
            pass

    for use in (open_it, connect_it, open_in_memory):
        with pytest.raises(RuntimeError, match=r"raftswarm\.aio \(asyncio\)"):
            asyncio.run(use())


class Miscaptured(Journal):
    """Makes no picture that could be written."""

    def __init__(self, picture: object) -> None:
        super().__init__()
        self.picture = picture

    def capture(self) -> Any:
        return self.picture


class Chunks:
    def __init__(self, chunk: object) -> None:
        self.chunk = chunk

    def chunks(self) -> Iterator[object]:
        yield self.chunk
        raise ZeroDivisionError("in the middle")


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (None, "'NoneType' object has no attribute 'chunks'"),
        (Chunks(b"chunk"), "ZeroDivisionError: in the middle"),
        (Chunks("chunk"), "TypeError: a chunk is bytes, not str"),
    ],
)
async def test_a_picture_that_cannot_be_written_is_the_machines_failure(
    tmp_path: Path, picture: object, complaint: str
) -> None:
    often = CompactionPolicy(snapshot_every_commands=1)

    async def use() -> None:
        async with open_member(
            tmp_path, Miscaptured(picture), name="a", members={"a": free_address()}, settings=QUICK, compaction=often
        ) as member:
            await member.wait_gained()
            await member.propose(b"one")
            await trio.sleep_forever()

    with pytest.raises(MachineFailed, match=f"while the snapshot up to entry .* was being written: .*{complaint}"):
        await use()
