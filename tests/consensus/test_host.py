"""Many groups in one process: real sockets and files, small timeouts."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

import raftswarm
from raftswarm.errors import InvalidSpec, MachineFailed, NotLeader, StateInUse

SETTINGS = raftswarm.RaftSettings(heartbeat_seconds=0.03, election_seconds=0.3)


@attrs.define
class Log:
    """A machine that keeps all commands."""

    commands: list[bytes] = attrs.field(factory=list)

    def apply(self, command: bytes, context: raftswarm.Context) -> object:
        if command == b"break":
            raise RuntimeError("this command breaks the machine")
        self.commands.append(command)
        return context.index

    def capture(self) -> raftswarm.Captured:
        return raftswarm.Captured(b"\0".join(self.commands))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.commands = [command for command in b"".join(chunks).split(b"\0") if command]


@pytest.fixture
def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


@asynccontextmanager
async def hosts(directory: Path, ports: list[int]) -> AsyncIterator[list[raftswarm.Host]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                raftswarm.open_host(directory / f"h{number}", name=f"h{number}", address=f"127.0.0.1:{port}")
            )
            for number, port in enumerate(ports)
        ]


@asynccontextmanager
async def group(name: str, on: list[raftswarm.Host]) -> AsyncIterator[list[raftswarm.RaftMember]]:
    members = {host.name: host.address for host in on}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(host.open_member(name, Log(), members=members, settings=SETTINGS))
            for host in on
        ]


async def propose(members: list[raftswarm.RaftMember], command: bytes) -> object:
    """Propose on whoever leads."""
    with trio.fail_after(10):
        while True:
            for member in members:
                try:
                    return await member.propose(command)
                except NotLeader:
                    await trio.sleep(0.02)
    raise AssertionError


def commands_of(member: raftswarm.RaftMember) -> list[bytes]:
    machine = member._machine
    assert isinstance(machine, Log)
    return machine.commands


async def test_groups_of_the_same_hosts_do_not_see_each_others_commands(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports) as on, group("orders", on) as orders, group("users", on) as users:
        await propose(orders, b"an order")
        await propose(users, b"a user")
        for member in (*orders, *users):
            await member.read_barrier()

        assert [commands_of(member) for member in orders] == [[b"an order"]] * 3
        assert [commands_of(member) for member in users] == [[b"a user"]] * 3


async def test_each_group_keeps_its_log(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports) as on, group("orders", on) as orders, group("users", on) as users:
        await propose(orders, b"an order")
        await propose(users, b"a user")

    async with hosts(tmp_path, free_ports) as on, group("users", on) as users:
        await propose(users, b"another user")
        for member in users:
            await member.read_barrier()

        assert [commands_of(member) for member in users] == [[b"a user", b"another user"]] * 3


async def test_a_member_that_stops_harms_no_other_group(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports) as on, group("sound", on) as sound:

        async def break_a_group() -> None:
            async with group("broken", on) as broken:
                await propose(broken, b"break")
                await trio.sleep_forever()

        with pytest.raises(MachineFailed, match="breaks the machine"):
            await break_a_group()

        await propose(sound, b"still here")


async def test_a_group_is_open_once_on_a_host(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports[:1]) as [host], group("orders", [host]) as _:
        with pytest.raises(InvalidSpec, match="has opened its member of embedded/orders already"):
            async with group("orders", [host]):
                pass
    with pytest.raises(InvalidSpec, match="cannot name a group"):
        async with hosts(tmp_path, free_ports[:1]) as [host], group("../x", [host]):
            pass


async def test_founding_members_say_where_the_host_listens(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports[:1]) as [host]:
        with pytest.raises(InvalidSpec, match="and not on 127"):
            async with host.open_member("orders", Log(), members={"h0": "127.0.0.1:9"}):
                pass


async def test_a_directory_serves_one_host(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports[:1]):
        with pytest.raises(StateInUse):
            async with hosts(tmp_path, free_ports[1:2]):
                pass


async def test_a_host_joins_one_of_the_groups_of_others(tmp_path: Path, free_ports: list[int]) -> None:
    async with hosts(tmp_path, free_ports) as on, group("orders", on[:2]) as orders, group("users", on[:2]) as users:
        await propose(orders, b"an order")
        await propose(users, b"a user")
        async with on[2].open_member("orders", Log(), settings=SETTINGS) as joiner:
            [leader] = [member for member in orders if member.leadership.value.is_leader]
            await leader.add_member(on[2].name, on[2].address)
            await joiner.configuration.wait_until(lambda now: len(now.voters) == 3)
            await joiner.read_barrier()
            assert commands_of(joiner) == [b"an order"]

            [leader] = [member for member in users if member.leadership.value.is_leader]
            with pytest.raises(InvalidSpec, match="runs no member of embedded/users: open it there first"):
                await leader.add_member(on[2].name, on[2].address)


async def test_who_was_founded_by_itself_is_not_taken_for_one_that_joins(tmp_path: Path, free_ports: list[int]) -> None:
    """Two clusters of the same name: their logs begin with different members at the same place, in the same term."""
    async with hosts(tmp_path, free_ports) as on, group("orders", on[:2]) as orders, group("orders", on[2:]) as [alone]:
        await propose(orders, b"ours")
        await propose([alone], b"theirs")
        [leader] = [member for member in orders if member.leadership.value.is_leader]

        with pytest.raises(
            InvalidSpec, match="h2 belongs to another cluster that is called embedded/orders too; stop it"
        ):
            await leader.add_member(on[2].name, on[2].address)

        assert commands_of(alone) == [b"theirs"]
        assert len(leader.configuration.value.member_ids) == 2
