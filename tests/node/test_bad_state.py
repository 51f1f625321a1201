"""A state directory that is not as it was left: what is missing or unreadable is said, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.ca import Credentials
from raftswarm.engine.node_protocol import LocalState
from raftswarm.errors import CorruptLog, DiskFailed, ForeignState, RaftSwarmError
from raftswarm.manager.control.requests import CreateService
from raftswarm.node.facts import read_facts
from raftswarm.node.machine import Machine
from raftswarm.world.network import SwarmNetwork
from tests.node.conftest import BEGIN_NS
from tests.node.swarms import form, service, service_names
from tests.node.test_recovery import backup_of, restore_on

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

DAY_NS = 24 * 3600 * 10**9


@attrs.frozen
class WrongClock:
    """A date that is off by so much."""

    offset_ns: int

    def now_ns(self) -> int:
        return BEGIN_NS + self.offset_ns + int(trio.current_time() * 1e9)


def set_clock(hall: Hall, room: Room, clock: WrongClock) -> None:
    """Let a machine go by that clock, its links too."""
    host = room.address.partition(":")[0]

    @asynccontextmanager
    async def open_network(credentials: Credentials | None, _host: str) -> AsyncIterator[SwarmNetwork]:
        yield hall.cable.plug(host, clock, credentials)

    room.world = attrs.evolve(room.world, wall_clock=clock, open_network=open_network)


async def stopped_manager(hall: Hall) -> Room:
    [alice] = await form(hall)
    await alice.machine.control(CreateService(spec=service("web")))
    await trio.sleep(1)
    await hall.stop(alice)
    return alice


def log_of(room: Room) -> dict[str, int]:
    return {name: size for name, size in room.disk.sizes("state").items() if "/raft/" in name}


async def refused_start(room: Room) -> RaftSwarmError:
    """Start its daemon, which says why it does not."""
    with trio.fail_after(10), pytest.raises(RaftSwarmError) as refusal:
        await Machine(room.settings, room.world).run()
    return refusal.value


async def trouble_of(hall: Hall, room: Room) -> str:
    """Start its daemon, which goes on and tells why its node cannot take part."""
    await hall.restart(room)
    with trio.fail_after(10):
        while room.machine.info().state is not LocalState.ERROR:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.05)
    return room.machine.info().error


async def test_lost_facts_are_told_and_the_log_is_not_thrown_away(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    before = log_of(alice)
    facts = alice.disk.open("state/node.json")
    content = facts.read(0, facts.size())
    alice.disk.remove("state/node.json")

    error = await refused_start(alice)

    assert isinstance(error, ForeignState)
    assert "node.json, which says whose they are, is missing: put that file back" in str(error)
    assert log_of(alice) == before
    alice.disk.open("state/node.json", create=True).write(0, [content])
    await hall.restart(alice)
    assert await service_names(alice) == ["web"]


async def test_nothing_is_restored_over_a_log_whose_facts_were_lost(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    image = await backup_of(alice)
    await hall.stop(alice)
    before = log_of(alice)
    alice.disk.remove("state/node.json")

    with pytest.raises(ForeignState, match="is missing: put that file back"):
        restore_on(alice, image)
    assert log_of(alice) == before


async def test_lost_keys_are_told(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    before = log_of(alice)
    alice.disk.remove("state/certificates/keys")

    error = await refused_start(alice)

    assert isinstance(error, ForeignState)
    assert str(error).startswith("state/certificates holds no keys")
    assert log_of(alice) == before


async def test_a_lost_sealing_key_is_told(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    alice.disk.remove("state/certificates/kek")

    error = await refused_start(alice)

    assert isinstance(error, CorruptLog)
    assert "the key that opens it, state/certificates/kek, is missing" in str(error)
    assert "join again" in str(error)


@pytest.mark.parametrize("name", ["swarm-node.crt", "swarm-root-ca.crt"])
async def test_a_lost_certificate_is_told(name: str, autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    alice.disk.remove(f"state/certificates/{name}")

    error = await refused_start(alice)

    assert f"could not read state/certificates/{name}" in str(error)


async def test_a_lost_log_is_told_and_none_is_begun_in_its_place(autojump_clock: MockClock, hall: Hall) -> None:
    """An empty log would vote again in terms in which this member has voted."""
    alice = await stopped_manager(hall)
    for name in alice.disk.list("state/raft/log"):
        alice.disk.remove(f"state/raft/log/{name}")

    trouble = await trouble_of(hall, alice)

    assert "state/raft" in trouble
    assert "let it join again" in trouble
    assert alice.disk.list("state/raft/log") == []
    assert read_facts(alice.disk, "state") is not None


async def test_a_disk_that_became_read_only_is_told(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    before = log_of(alice)
    alice.disk.fail_from_now(OSError(30, "Read-only file system"))

    error = await refused_start(alice)

    assert isinstance(error, DiskFailed)
    assert "Read-only file system" in str(error)
    assert log_of(alice) == before


async def test_a_date_in_the_past_is_told_and_the_log_goes_on(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    right = alice.world
    set_clock(hall, alice, WrongClock(-30 * DAY_NS))

    await hall.restart(alice)
    await trio.sleep(5)

    assert "is valid from" in alice.machine.info().error
    assert "compare the nodes' clocks" in alice.machine.info().error
    await alice.machine.control(CreateService(spec=service("meanwhile")))
    await hall.stop(alice)
    alice.world = right
    await hall.restart(alice)
    await trio.sleep(5)
    assert alice.machine.info().error == ""
    assert await service_names(alice) == ["meanwhile", "web"]


async def test_a_node_that_was_off_until_its_certificate_expired_says_so(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await stopped_manager(hall)
    set_clock(hall, alice, WrongClock(1000 * DAY_NS))

    await hall.restart(alice)
    await trio.sleep(5)

    assert "expired at" in alice.machine.info().error
    assert "leave and join again" in alice.machine.info().error
