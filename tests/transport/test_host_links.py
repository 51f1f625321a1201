"""Links between hosts: one set for all groups of two hosts, and no group can harm another through it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.ca import Credentials
from raftswarm.errors import LinkClosed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.messages import AnyMessage, AppendEntries, Heartbeat
from raftswarm.transport import host_links
from raftswarm.transport.host_links import HostLinks
from raftswarm.transport.member_links import MemberLinks, route_link
from raftswarm.transport.memory import MemoryCable
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.wire.member_codec import Introduction, encode_introduction, encode_message, prefix_frame
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link, Network

ALICE, BOB = 1, 2
NAMES = {ALICE: "alice", BOB: "bob", 3: "mallory"}
BOTH = Configuration(
    voters=tuple(MemberInfo(id=member, address=f"127.0.0.{member}:2377", name=NAMES[member]) for member in (1, 2))
)


@attrs.define
class NotedEvents:
    """Writes down what a member is told."""

    messages: list[AnyMessage] = attrs.field(factory=list)
    told: list[tuple[str, int]] = attrs.field(factory=list)

    def received(self, message: AnyMessage) -> None:
        self.messages.append(message)

    def connected(self, peer: int) -> None:
        self.told.append(("connected", peer))

    def stopped(self, peer: int) -> None:
        self.told.append(("stopped", peer))

    def unreachable(self, peer: int) -> None:
        self.told.append(("unreachable", peer))

    def superseded(self, epoch: int) -> None:
        self.told.append(("superseded", epoch))

    async def receive_snapshot(self, peer: int, link: Link) -> None:  # noqa: ARG002
        raise AssertionError("nobody sends a snapshot here")


@attrs.define
class Member:
    """A member of one group."""

    links: MemberLinks
    events: NotedEvents
    closing: trio.CancelScope

    def say(self, number: int) -> bool:
        """Send the other member something that shows a number."""
        me = self.links._member_id
        return self.links.post(heartbeat(me, ALICE + BOB - me, number))

    @property
    def heard(self) -> list[int]:
        return [message.commit for message in self.events.messages if isinstance(message, Heartbeat)]


def heartbeat(sender: int, to: int, number: int = 0) -> Heartbeat:
    return Heartbeat(sender=sender, to=to, term=1, commit=number)


@attrs.define
class Host:
    """A host with any number of groups; its members have its number in all of them."""

    number: int
    network: Network
    links: HostLinks
    nursery: trio.Nursery

    def open(self, group: str, configuration: Configuration = BOTH) -> Member:
        events, closing = NotedEvents(), trio.CancelScope()
        links = MemberLinks(self.links, group, self.number, events)
        links.set_configuration(configuration)

        async def run() -> None:
            with closing:
                await links.run()

        self.nursery.start_soon(run)
        return Member(links, events, closing)

    async def serve(self, link: Link) -> None:
        async def calls(link: Link) -> None:
            raise AssertionError("nobody calls here")

        await route_link(link, calls=calls, members=self.links.accept)


@attrs.define
class Hall:
    """Hosts on one cable."""

    cable: MemoryCable
    clock: WallClock
    make_credentials: Callable[..., Credentials]
    nursery: trio.Nursery

    def plug(self, number: int) -> Network:
        return self.cable.plug(f"127.0.0.{number}", self.clock, self.make_credentials(NAMES[number]))

    async def start(self, number: int) -> Host:
        network = self.plug(number)
        host = Host(number, network, HostLinks(network, Random(number)), self.nursery)
        listening = trio.Event()
        self.nursery.start_soon(
            lambda: network.serve(f"127.0.0.{number}:2377", host.serve, started=lambda _: listening.set())
        )
        self.nursery.start_soon(host.links.run)
        await listening.wait()
        return host

    @property
    def links(self) -> int:
        return len(self.cable._wires)


@pytest.fixture
def hall(make_credentials: Callable[..., Credentials], clock: WallClock, nursery: trio.Nursery) -> Hall:
    return Hall(MemoryCable(), clock, make_credentials, nursery)


@pytest.mark.parametrize("groups", [1, 2, 50])
async def test_two_hosts_have_as_many_links_for_many_groups_as_for_one(
    hall: Hall, autojump_clock: MockClock, groups: int
) -> None:
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    pairs = [(alice.open(f"g{number}"), bob.open(f"g{number}")) for number in range(groups)]
    await trio.sleep(2)

    assert hall.links == 4, "two lanes, in both directions"
    for number, (left, right) in enumerate(pairs):
        assert left.events.told[0] == ("connected", BOB)
        assert left.say(number)
        assert right.say(1000 + number)
    await wait_all_tasks_blocked()
    assert [right.heard for _, right in pairs] == [[number] for number in range(groups)]
    assert [left.heard for left, _ in pairs] == [[1000 + number] for number in range(groups)]


async def test_a_group_that_is_opened_later_uses_the_links_that_are_there(
    hall: Hall, autojump_clock: MockClock
) -> None:
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    alice.open("old")
    bob.open("old")
    await trio.sleep(2)

    left, right = alice.open("new"), bob.open("new")
    before = trio.current_time()
    await wait_all_tasks_blocked()

    assert trio.current_time() == before
    assert left.events.told == [("connected", BOB)]
    assert left.say(1)
    await wait_all_tasks_blocked()
    assert right.heard == [1]
    assert hall.links == 4


async def test_what_comes_for_a_group_that_is_not_there_is_dropped_with_a_note(
    hall: Hall, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    left, here = alice.open("elsewhere"), alice.open("here")
    there = bob.open("here")
    await trio.sleep(2)

    for number in range(10):
        assert left.say(number)
    assert here.say(7)
    await wait_all_tasks_blocked()
    assert there.heard == [7]
    assert caplog.text.count("CONTROL from 127.0.0.1:32768: there is no member of group elsewhere here") <= 1
    assert "there is no member of group elsewhere here" in caplog.text

    late = bob.open("elsewhere")
    await wait_all_tasks_blocked()
    assert left.say(10)
    await wait_all_tasks_blocked()
    assert late.heard == [10], "nobody dialled anew"


async def test_a_group_that_closes_leaves_the_links_to_the_others(hall: Hall, autojump_clock: MockClock) -> None:
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    leaving, staying = alice.open("leaving"), alice.open("staying")
    left_behind, other = bob.open("leaving"), bob.open("staying")
    await trio.sleep(2)
    staying.events.told.clear()
    other.events.told.clear()

    leaving.closing.cancel()
    await wait_all_tasks_blocked()
    assert left_behind.say(1)
    assert staying.say(2)
    assert other.say(3)
    await trio.sleep(60)

    assert (leaving.heard, other.heard, staying.heard) == ([], [2], [3])
    assert staying.events.told == other.events.told == []
    assert hall.links == 4


async def test_the_last_group_that_closes_hangs_up(hall: Hall, autojump_clock: MockClock) -> None:
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    members = [host.open(group) for host in (alice, bob) for group in ("one", "two")]
    await trio.sleep(2)

    for member in members:
        member.closing.cancel()
    await trio.sleep(2)

    assert hall.links == 0


async def test_a_group_that_is_closed_and_opened_again_is_heard_again(hall: Hall, autojump_clock: MockClock) -> None:
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    alice.open("other")
    right = bob.open("group")
    await trio.sleep(2)

    for number in range(5):
        left = alice.open("group")
        await wait_all_tasks_blocked()
        assert left.say(number)
        assert right.say(number)
        await wait_all_tasks_blocked()
        assert left.heard == [number]
        left.closing.cancel()
        await wait_all_tasks_blocked()

    assert right.heard == [0, 1, 2, 3, 4]


async def test_a_host_that_dies_has_stopped_for_every_group_at_once(hall: Hall, autojump_clock: MockClock) -> None:
    alice = await hall.start(ALICE)
    async with trio.open_nursery() as bobs_nursery:
        bob = await Hall(hall.cable, hall.clock, hall.make_credentials, bobs_nursery).start(BOB)
        members = [alice.open(group) for group in ("one", "two", "three")]
        for group in ("one", "two", "three"):
            bob.open(group)
        await trio.sleep(2)
        for member in members:
            assert member.say(0)
            member.events.told.clear()
        await wait_all_tasks_blocked()
        before = trio.current_time()
        hall.cable.kill("127.0.0.2")
        bobs_nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()

    assert trio.current_time() == before
    for member in members:
        assert sorted(member.events.told) == [("stopped", BOB), ("unreachable", BOB)]


async def call_as_mallory(hall: Hall, *groups: str) -> Link:
    """Say on a link to alice, from a node of another name, that bob's member of these groups speaks."""
    link = await hall.plug(3).connect("127.0.0.1:2377")
    link.post(encode_purpose(Lane.CONTROL))
    for channel, group in enumerate(groups, start=1):
        link.post(prefix_frame(channel, encode_introduction(Introduction(group=group, sender=BOB, to=ALICE))))
        link.post(prefix_frame(channel, encode_message(heartbeat(BOB, ALICE, channel))))
    await wait_all_tasks_blocked()
    return link


async def test_who_may_speak_for_a_member_is_decided_in_each_group(
    hall: Hall, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await hall.start(ALICE)
    mallorys = Configuration(voters=(MemberInfo(id=BOB, address="127.0.0.3:2377", name="mallory"),))
    forbidden, allowed = alice.open("forbidden", BOTH), alice.open("allowed", mallorys)

    await call_as_mallory(hall, "forbidden", "allowed")

    assert forbidden.events.messages == []
    assert allowed.heard == [2]
    assert "member 2 is node bob, and mallory speaks for it" in caplog.text


async def test_nothing_is_said_to_an_impostor_and_no_snapshot_taken_from_it(
    hall: Hall, autojump_clock: MockClock
) -> None:
    alice = await hall.start(ALICE)
    member = alice.open("group")
    introduction = encode_introduction(Introduction(group="group", sender=BOB, to=ALICE))
    link, bulk = await hall.plug(3).connect("127.0.0.1:2377"), await hall.plug(3).connect("127.0.0.1:2377")
    link.post(encode_purpose(Lane.CONTROL))
    link.post(prefix_frame(1, introduction))
    bulk.post(encode_purpose(Lane.BULK))
    bulk.post(introduction)
    await wait_all_tasks_blocked()

    assert not member.say(1)
    with pytest.raises(LinkClosed):
        await bulk.receive()


async def test_a_group_that_is_opened_again_and_again_takes_up_one_place_on_a_link(
    hall: Hall, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host_links, "MAX_CHANNELS", 3)
    alice, bob = await hall.start(ALICE), await hall.start(BOB)
    alice.open("other")
    right = bob.open("last")
    await trio.sleep(2)
    for _ in range(10):
        left = alice.open("group")
        await wait_all_tasks_blocked()
        left.closing.cancel()
        await wait_all_tasks_blocked()

    last = alice.open("last")
    await wait_all_tasks_blocked()
    assert last.say(1)
    await wait_all_tasks_blocked()
    assert right.heard == [1]
    assert "more than 3 pairs" not in caplog.text


async def test_a_member_that_moves_to_another_node_is_no_longer_heard_from_the_old_one(
    hall: Hall, autojump_clock: MockClock
) -> None:
    alice = await hall.start(ALICE)
    nobody = Configuration()
    group, other = alice.open("group", nobody), alice.open("other", nobody)
    link = await call_as_mallory(hall, "group", "other")

    group.links.set_configuration(BOTH)
    for channel in (1, 2):
        link.post(prefix_frame(channel, encode_message(heartbeat(BOB, ALICE, 9))))
    await wait_all_tasks_blocked()

    assert group.heard == [1]
    assert other.heard == [2, 9]
    assert other.say(1), "the link itself is as good as before"


async def test_a_full_link_introduces_a_group_when_there_is_room_again(hall: Hall, autojump_clock: MockClock) -> None:
    alice = await hall.start(ALICE)
    reading = trio.Event()
    heard: list[bytes] = []

    async def read_late(link: Link) -> None:
        async def members(link: Link, lane: Lane) -> None:
            await reading.wait()
            while lane is Lane.APPEND:
                heard.append(await link.receive())
            await trio.sleep_forever()

        async def calls(link: Link) -> None:
            raise AssertionError("nobody calls here")

        await route_link(link, calls=calls, members=members)

    bob = hall.plug(BOB)
    hall.nursery.start_soon(lambda: bob.serve("127.0.0.2:2377", read_late, started=lambda _: None))
    crowd = alice.open("crowd")
    await trio.sleep(2)
    entry = Entry(index=1, term=1, kind=EntryKind.COMMANDS, first_command=1, data=bytes(1024))
    append = AppendEntries(sender=ALICE, to=BOB, term=1, previous_index=0, previous_term=0, entries=(entry,))
    while crowd.links.post(append):
        pass
    channel = crowd.links._peers[BOB].channel(Lane.APPEND)
    assert channel is not None
    while channel.link.post(b""):
        pass
    late = alice.open("late")
    await wait_all_tasks_blocked()
    assert not late.links.post(append)

    reading.set()
    await wait_all_tasks_blocked()
    assert late.links.post(append)
    await wait_all_tasks_blocked()

    introduction = encode_introduction(Introduction(group="late", sender=ALICE, to=BOB))
    assert prefix_frame(2, introduction) in heard
    assert heard[-1] == prefix_frame(2, encode_message(append))


async def test_one_link_carries_a_bounded_number_of_groups(
    hall: Hall, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host_links, "MAX_CHANNELS", 3)
    alice = await hall.start(ALICE)
    member = alice.open("g1", Configuration())

    await call_as_mallory(hall, "g1", "g2", "g3", "g4")

    assert member.heard == [1]
    assert "more than 3 pairs of members on one link" in caplog.text
    assert hall.links == 0
