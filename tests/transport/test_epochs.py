"""Members of different epochs do not speak (docs/operations.md): the earlier one is told, and not heard."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.ca import MANAGER, Credentials
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import AnyMessage, Heartbeat
from raftswarm.transport.host_links import HostLinks
from raftswarm.transport.member_links import MemberLinks, route_link
from raftswarm.transport.memory import MemoryCable
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

ALICE, BOB = 1, 2
BOTH = Configuration(
    voters=tuple(MemberInfo(id=member, address=f"127.0.0.{member}:2377", name=f"n{member}") for member in (1, 2))
)
ALONE = Configuration(voters=BOTH.voters[:1])
OLD, NEW = 1 << 32 | 5, 2 << 32 | 1


@attrs.define
class NotedEvents:
    """Writes down what a member is told."""

    messages: list[AnyMessage] = attrs.field(factory=list)
    epochs: list[int] = attrs.field(factory=list)
    snapshots: int = 0

    def received(self, message: AnyMessage) -> None:
        self.messages.append(message)

    def connected(self, peer: int) -> None:
        pass

    def stopped(self, peer: int) -> None:
        pass

    def unreachable(self, peer: int) -> None:
        pass

    def superseded(self, epoch: int) -> None:
        self.epochs.append(epoch)

    async def receive_snapshot(self, peer: int, link: Link) -> None:  # noqa: ARG002 - the protocol's
        self.snapshots += 1
        await trio.lowlevel.checkpoint()


@attrs.define
class Member:
    links: MemberLinks
    events: NotedEvents


Start = Callable[[int, Configuration, int], Member]


@pytest.fixture
def start(make_credentials: Callable[..., Credentials], clock: WallClock, nursery: trio.Nursery) -> Start:
    cable = MemoryCable()

    def begin(member: int, configuration: Configuration, epoch: int) -> Member:
        network = cable.plug(f"127.0.0.{member}", clock, make_credentials(f"n{member}", MANAGER))
        host, events = HostLinks(network, Random(member)), NotedEvents()
        links = MemberLinks(host, "group", member, events, epoch=epoch)
        links.set_configuration(configuration)

        async def refuse(link: Link) -> None:
            raise AssertionError("nobody calls here")

        async def serve(link: Link) -> None:
            await route_link(link, calls=refuse, members=host.accept)

        async def listen() -> None:
            await network.serve(f"127.0.0.{member}:2377", serve, started=lambda _: None)

        for part in (host.run, links.run, listen):
            nursery.start_soon(part)
        return Member(links, events)

    return begin


def heartbeat(sender: int, to: int) -> Heartbeat:
    return Heartbeat(sender=sender, to=to, term=9, commit=0)


async def test_members_of_one_epoch_speak(start: Start, autojump_clock: MockClock) -> None:
    alice, bob = start(ALICE, BOTH, NEW), start(BOB, BOTH, NEW)
    await trio.sleep(2)

    assert alice.links.post(heartbeat(ALICE, BOB))
    alice.links.flush()
    await trio.sleep(1)

    assert bob.events.messages == [heartbeat(ALICE, BOB)]
    assert alice.events.epochs == bob.events.epochs == []


async def test_who_calls_from_an_earlier_epoch_is_told_and_not_heard(start: Start, autojump_clock: MockClock) -> None:
    alice, bob = start(ALICE, ALONE, NEW), start(BOB, BOTH, OLD)
    await trio.sleep(2)

    bob.links.post(heartbeat(BOB, ALICE))
    bob.links.flush()
    await trio.sleep(1)

    assert set(bob.events.epochs) == {NEW}
    assert alice.events.messages == []
    assert alice.events.epochs == []


async def test_who_is_called_from_a_later_epoch_is_told_and_does_not_answer(
    start: Start, autojump_clock: MockClock
) -> None:
    alice, bob = start(ALICE, BOTH, NEW), start(BOB, ALONE, OLD)
    await trio.sleep(2)

    alice.links.post(heartbeat(ALICE, BOB))
    alice.links.flush()
    await trio.sleep(1)

    assert set(bob.events.epochs) == {NEW}
    assert bob.events.messages == []
    assert alice.events.epochs == []


async def test_a_snapshot_of_an_earlier_epoch_is_not_taken(start: Start, autojump_clock: MockClock) -> None:
    alice, bob = start(ALICE, ALONE, NEW), start(BOB, BOTH, OLD)
    await trio.sleep(2)

    async def stream(link: Link) -> None:
        await link.receive()

    await bob.links.send_snapshot(ALICE, stream)

    assert alice.events.snapshots == 0
