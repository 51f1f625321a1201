"""Links between Raft members: lanes, redialling, and the hint that a peer stopped (docs/raft.md)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from random import Random

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.ca import MANAGER, WORKER, Credentials, Identity
from raftswarm.errors import LinkClosed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, Heartbeat
from raftswarm.transport.host_links import HostLinks
from raftswarm.transport.member_links import Lane, MemberLinks, route_link
from raftswarm.transport.memory import MemoryCable
from raftswarm.transport.plain import open_plain_network
from raftswarm.wire.greetings import encode_purpose
from raftswarm.wire.member_codec import (
    Introduction,
    encode_introduction,
    encode_message,
    prefix_frame,
)
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link, Network

GROUP = "group"
ALICE, BOB, CAROL = 1, 2, 3
NAMES = {ALICE: "alice", BOB: "bob", CAROL: "carol"}


@attrs.define
class NotedEvents:
    """Writes down what a member is told."""

    messages: list[AnyMessage] = attrs.field(factory=list)
    told: list[tuple[str, int]] = attrs.field(factory=list)
    bulk: list[tuple[int, bytes]] = attrs.field(factory=list)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def received(self, message: AnyMessage) -> None:
        self.messages.append(message)

    def connected(self, peer: int) -> None:
        self._tell("connected", peer)

    def stopped(self, peer: int) -> None:
        self._tell("stopped", peer)

    def unreachable(self, peer: int) -> None:
        self._tell("unreachable", peer)

    def _tell(self, what: str, peer: int) -> None:
        self.told.append((what, peer))
        self._news.unpark_all()

    async def wait_told(self, what: str, peer: int) -> None:
        while (what, peer) not in self.told:
            await self._news.park()

    def superseded(self, epoch: int) -> None:
        self.told.append(("superseded", epoch))

    async def receive_snapshot(self, peer: int, link: Link) -> None:
        while (frame := await link.receive()) != b"the end":
            self.bulk.append((peer, frame))


def configuration(*members: int, names: dict[int, str] = NAMES) -> Configuration:
    return Configuration(
        voters=tuple(MemberInfo(id=member, address=f"127.0.0.{member}:2377", name=names[member]) for member in members)
    )


def heartbeat(sender: int, to: int, *, commit: int = 0) -> Heartbeat:
    return Heartbeat(sender=sender, to=to, term=1, commit=commit)


def introduce(sender: int, to: int, *, group: str = GROUP, channel: int = 1) -> bytes:
    return prefix_frame(channel, encode_introduction(Introduction(group=group, sender=sender, to=to)))


async def expect_hang_up(link: Link) -> None:
    with trio.fail_after(60), pytest.raises(LinkClosed):
        await link.receive()


@attrs.define
class Node:
    """A member with its links, served as a node would."""

    network: Network
    host: HostLinks
    links: MemberLinks
    events: NotedEvents
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self, address: str, started: Callable[[str], None]) -> None:
        async def calls(link: Link) -> None:
            raise AssertionError("nobody calls here")

        async def serve(link: Link) -> None:
            await route_link(link, calls=calls, members=self.host.accept)

        async def listen() -> None:
            await self.network.serve(address, serve, started=started)

        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.host.run)
                nursery.start_soon(self.links.run)
                nursery.start_soon(listen)


def make_node(network: Network, member: int) -> Node:
    host, events = HostLinks(network, Random(member)), NotedEvents()
    return Node(network, host, MemberLinks(host, GROUP, member, events), events)


@attrs.define
class Cluster:
    """Members on one cable."""

    cable: MemoryCable
    clock: WallClock
    make_credentials: Callable[..., Credentials]
    nursery: trio.Nursery

    def plug(self, member: int, name: str = "", role: str = MANAGER) -> Network:
        credentials = self.make_credentials(name or NAMES[member], role)
        return self.cable.plug(f"127.0.0.{member}", self.clock, credentials)

    async def start(self, member: int, *members: int, name: str = "") -> Node:
        node = make_node(self.plug(member, name), member)
        node.links.set_configuration(configuration(*members))
        listening = trio.Event()
        self.nursery.start_soon(node.run, f"127.0.0.{member}:2377", lambda _: listening.set())
        await listening.wait()
        return node

    def kill(self, member: int, node: Node) -> None:
        self.cable.kill(f"127.0.0.{member}")
        node.scope.cancel()


@pytest.fixture
def cluster(
    make_credentials: Callable[..., Credentials],
    clock: WallClock,
    nursery: trio.Nursery,
) -> Cluster:
    return Cluster(MemoryCable(), clock, make_credentials, nursery)


async def test_members_find_each_other_and_talk(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(1)

    assert ("connected", BOB) in alice.events.told
    assert alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    assert bob.events.messages == [heartbeat(ALICE, BOB)]


async def test_messages_on_a_lane_keep_their_order(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(1)

    sent = [heartbeat(ALICE, BOB, commit=number) for number in range(100)]
    for message in sent:
        assert alice.links.post(message)
    await wait_all_tasks_blocked()

    assert bob.events.messages == sent


async def test_a_crowded_append_lane_leaves_room_for_heartbeats(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await trio.sleep(0.1)
    lanes: dict[Lane, Link] = {}

    async def keep_unread(link: Link) -> None:
        async def members(link: Link, lane: Lane) -> None:
            lanes[lane] = link
            await trio.sleep_forever()

        async def calls(link: Link) -> None:
            raise AssertionError("nobody calls here")

        await route_link(link, calls=calls, members=members)

    bob = cluster.plug(BOB)
    cluster.nursery.start_soon(lambda: bob.serve("127.0.0.2:2377", keep_unread, started=lambda _: None))
    await trio.sleep(2)
    entry = Entry(index=1, term=1, kind=EntryKind.COMMANDS, first_command=1, data=b"x" * 1024 * 1024)
    append = AppendEntries(sender=ALICE, to=BOB, term=1, previous_index=0, previous_term=0, entries=(entry,))
    posted = 0
    while alice.links.post(append):
        posted += 1

    assert posted == 7, "the queue of 8 MiB less the frames' own bytes"
    assert ("unreachable", BOB) in alice.events.told
    assert alice.links.post(heartbeat(ALICE, BOB))


async def test_a_killed_peer_is_told_stopped_at_once_and_once(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(2)
    alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    alice.events.told.clear()

    cluster.kill(BOB, bob)
    before = trio.current_time()
    await wait_all_tasks_blocked()

    assert trio.current_time() == before
    assert sorted(alice.events.told) == [("stopped", BOB), ("unreachable", BOB)]
    await trio.sleep(60)
    assert sorted(alice.events.told) == [("stopped", BOB), ("unreachable", BOB)]


async def test_a_broken_link_to_a_living_peer_is_replaced_and_nobody_is_told_stopped(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(2)
    alice.events.told.clear()

    for wire in list(cluster.cable._wires):
        wire.break_off("a firewall forgot it")
    await wait_all_tasks_blocked()

    assert ("connected", BOB) in alice.events.told
    assert ("stopped", BOB) not in alice.events.told
    assert alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    assert bob.events.messages == [heartbeat(ALICE, BOB)]


async def test_a_peer_that_returns_is_met_again_and_may_stop_again(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    for _ in range(2):
        bob = await cluster.start(BOB, ALICE, BOB)
        await trio.sleep(5)
        assert alice.events.told[-1] == ("connected", BOB)
        cluster.kill(BOB, bob)
        await wait_all_tasks_blocked()
        assert alice.events.told[-1] == ("stopped", BOB)


async def test_a_peer_that_returns_after_long_and_dies_again_is_told_stopped_at_once(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await trio.sleep(60)
    before = trio.current_time()

    bob = await cluster.start(BOB, ALICE, BOB)
    await wait_all_tasks_blocked()
    assert alice.events.told[-1] == ("connected", BOB)
    cluster.kill(BOB, bob)
    await wait_all_tasks_blocked()

    assert alice.events.told[-1] == ("stopped", BOB)
    assert trio.current_time() == before


async def test_a_peer_that_refused_before_its_last_link_broke_is_asked_again_at_once(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE)
    wrong_port = Configuration(voters=(MemberInfo(id=BOB, address="127.0.0.2:9", name="bob"),))
    alice.links.set_configuration(wrong_port)
    await wait_all_tasks_blocked()
    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(60)
    alice.events.told.clear()

    cluster.kill(BOB, bob)
    before = trio.current_time()
    await wait_all_tasks_blocked()

    assert trio.current_time() == before
    assert ("stopped", BOB) in alice.events.told


async def test_a_peer_that_refuses_calls_and_makes_them_has_not_stopped(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE)
    wrong_port = Configuration(voters=(MemberInfo(id=BOB, address="127.0.0.2:9", name="bob"),))
    alice.links.set_configuration(wrong_port)
    await wait_all_tasks_blocked()
    bob = await cluster.start(BOB, ALICE, BOB)

    await trio.sleep(60)

    assert alice.events.told == [("stopped", BOB), ("connected", BOB)]
    assert alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    assert bob.events.messages == [heartbeat(ALICE, BOB)]


async def test_losing_a_link_that_nobody_speaks_on_loses_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(2)
    assert alice.links.post(heartbeat(ALICE, BOB))
    alice.events.told.clear()

    for wire in list(cluster.cable._wires):
        if wire.hosts == ("127.0.0.2", "127.0.0.1"):
            wire.break_off("gone")
    await trio.sleep(2)

    assert ("unreachable", BOB) not in alice.events.told


async def test_the_newest_link_of_a_caller_outlives_the_one_before(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE)
    links: list[Link] = []
    for _ in range(2):
        link = await cluster.plug(BOB).connect("127.0.0.1:2377")
        link.post(encode_purpose(Lane.CONTROL))
        link.post(introduce(BOB, ALICE))
        await wait_all_tasks_blocked()
        links.append(link)

    await links[0].aclose()
    await wait_all_tasks_blocked()

    assert alice.links.post(heartbeat(ALICE, BOB))
    assert await links[1].receive() == prefix_frame(1, encode_message(heartbeat(ALICE, BOB)))


async def test_a_peer_that_never_answers_is_dialled_at_most_every_half_second_in_the_long_run(
    cluster: Cluster, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, dials = cluster.plug(ALICE), 0
    connect = network.connect

    async def counted(address: str, *, expect_node: str | None = None) -> Link:
        nonlocal dials
        dials += 1
        return await connect(address, expect_node=expect_node)

    monkeypatch.setattr(network, "connect", counted)
    alice = make_node(network, ALICE)
    alice.links.set_configuration(configuration(ALICE, BOB))
    cluster.nursery.start_soon(alice.host.run)
    cluster.nursery.start_soon(alice.links.run)

    await trio.sleep(1)
    assert dials >= 2 * 5, "eager at first"
    dials = 0
    await trio.sleep(100)
    assert 2 * 90 <= dials <= 2 * 210


async def test_messages_for_whoever_is_not_there_are_lost_without_a_storm_of_news(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await wait_all_tasks_blocked()
    alice.events.told.clear()

    assert not any(alice.links.post(heartbeat(ALICE, BOB)) for _ in range(10))
    assert not alice.links.post(heartbeat(ALICE, 99))
    assert alice.events.told == []


async def test_who_leaves_the_configuration_is_hung_up_on_and_who_comes_is_dialled(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await cluster.start(BOB)
    carol = await cluster.start(CAROL)
    await trio.sleep(1)

    alice.links.set_configuration(configuration(ALICE, CAROL))
    await trio.sleep(1)

    assert not alice.links.post(heartbeat(ALICE, BOB))
    assert alice.links.post(heartbeat(ALICE, CAROL))
    await wait_all_tasks_blocked()
    assert carol.events.messages == [heartbeat(ALICE, CAROL)]
    assert BOB not in alice.links._peers


async def test_whoever_is_removed_is_hung_up_on_only_when_that_is_committed(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB)
    await trio.sleep(1)

    alice.links.set_configuration(configuration(ALICE), configuration(ALICE, BOB))
    await trio.sleep(1)
    assert alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    alice.links.set_configuration(configuration(ALICE), configuration(ALICE))
    await trio.sleep(1)

    assert bob.events.messages == [heartbeat(ALICE, BOB)]
    assert not alice.links.post(heartbeat(ALICE, BOB))


async def test_a_learner_that_becomes_a_voter_keeps_its_links(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB)
    await trio.sleep(1)
    voters = configuration(ALICE, BOB).voters
    learner = Configuration(voters=voters[:1], learners=(replace(voters[1], promote=True),))
    alice.links.set_configuration(learner)
    told = [*alice.events.told], [*bob.events.told]

    alice.links.set_configuration(configuration(ALICE, BOB), learner)
    await trio.sleep(1)

    assert alice.links.post(heartbeat(ALICE, BOB))
    assert ([*alice.events.told], [*bob.events.told]) == told


async def test_a_member_that_moves_is_dialled_at_its_new_address(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE)
    moved = Configuration(voters=(MemberInfo(id=BOB, address="127.0.0.9:2377", name="bob"),))
    alice.links.set_configuration(moved)
    bob = await cluster.start(BOB)
    await trio.sleep(2)
    assert not alice.links.post(heartbeat(ALICE, BOB))

    alice.links.set_configuration(configuration(ALICE, BOB))
    await trio.sleep(2)

    assert alice.links.post(heartbeat(ALICE, BOB))
    await wait_all_tasks_blocked()
    assert bob.events.messages == [heartbeat(ALICE, BOB)]


async def test_a_joiner_that_knows_nobody_can_answer_whoever_calls(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.start(ALICE, ALICE, BOB)
    joiner = await cluster.start(BOB)
    await trio.sleep(2)
    append = AppendEntries(sender=ALICE, to=BOB, term=1, previous_index=0, previous_term=0)
    reply = AppendReply(sender=BOB, to=ALICE, term=1, success=True)

    assert leader.links.post(append)
    await wait_all_tasks_blocked()
    assert joiner.events.messages == [append]
    assert ("connected", ALICE) in joiner.events.told
    assert joiner.links.post(reply)
    await wait_all_tasks_blocked()
    assert leader.events.messages == [reply]


async def test_another_node_cannot_speak_for_a_member(
    cluster: Cluster, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    mallory = await cluster.plug(CAROL, "mallory").connect("127.0.0.1:2377")
    mallory.post(encode_purpose(Lane.CONTROL))
    mallory.post(introduce(BOB, ALICE))

    mallory.post(prefix_frame(1, encode_message(heartbeat(BOB, ALICE))))
    await wait_all_tasks_blocked()

    assert alice.events.messages == []
    assert not alice.links.post(heartbeat(ALICE, BOB))
    assert "member 2 is node bob, and mallory speaks for it" in caplog.text


@pytest.mark.parametrize("message", [heartbeat(BOB, ALICE), heartbeat(CAROL, BOB)], ids=["from", "to"])
async def test_a_link_carries_messages_between_its_two_members_only(
    cluster: Cluster, autojump_clock: MockClock, message: AnyMessage
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB, CAROL)
    carol = await cluster.plug(CAROL).connect("127.0.0.1:2377")
    carol.post(encode_purpose(Lane.CONTROL))
    carol.post(introduce(CAROL, ALICE))
    carol.post(prefix_frame(1, encode_message(message)))

    await expect_hang_up(carol)
    assert alice.events.messages == []


async def test_a_node_admitted_under_an_id_loses_it_when_the_configuration_gives_it_to_another(
    cluster: Cluster,
    autojump_clock: MockClock,
) -> None:
    alice = await cluster.start(ALICE, ALICE)
    mallory = await cluster.plug(CAROL, "mallory").connect("127.0.0.1:2377")
    mallory.post(encode_purpose(Lane.CONTROL))
    mallory.post(introduce(BOB, ALICE))
    await wait_all_tasks_blocked()

    alice.links.set_configuration(configuration(ALICE, BOB))
    mallory.post(prefix_frame(1, encode_message(heartbeat(BOB, ALICE))))

    await wait_all_tasks_blocked()
    assert alice.events.messages == []
    assert not alice.links.post(heartbeat(ALICE, BOB))


async def test_who_looks_for_another_member_is_not_heard(
    cluster: Cluster, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alice = await cluster.start(ALICE, ALICE)
    for sender, to in ((BOB, CAROL), (ALICE, ALICE)):
        link = await cluster.plug(BOB).connect("127.0.0.1:2377")
        link.post(encode_purpose(Lane.APPEND))
        link.post(introduce(sender, to))
        link.post(prefix_frame(1, encode_message(heartbeat(sender, to))))
    await wait_all_tasks_blocked()

    assert alice.events.messages == []
    assert "member 2 looks for member 3, and this is 1" in caplog.text


async def test_a_worker_gets_no_lane_of_members(
    cluster: Cluster, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    link = await cluster.plug(BOB, "bob", WORKER).connect("127.0.0.1:2377")
    link.post(encode_purpose(Lane.CONTROL))
    link.post(introduce(BOB, ALICE))
    link.post(prefix_frame(1, encode_message(heartbeat(BOB, ALICE))))

    await expect_hang_up(link)
    assert alice.events.messages == []
    assert "not a manager" in caplog.text


async def test_nonsense_from_a_member_ends_its_link_and_nothing_else(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    too_large = heartbeat(BOB, ALICE, commit=1 << 63)
    for nonsense in (b"", b"\xff" * 9, encode_message(too_large)):
        link = await cluster.plug(BOB).connect("127.0.0.1:2377")
        link.post(encode_purpose(Lane.CONTROL))
        link.post(introduce(BOB, ALICE))
        link.post(nonsense)
        await expect_hang_up(link)
    assert alice.events.messages == []

    bob = await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(2)
    assert bob.links.post(heartbeat(BOB, ALICE))


async def test_who_says_nothing_on_a_new_link_is_hung_up_on(cluster: Cluster, autojump_clock: MockClock) -> None:
    await cluster.start(ALICE, ALICE)
    silent = await cluster.plug(BOB).connect("127.0.0.1:2377")
    half_silent = await cluster.plug(BOB).connect("127.0.0.1:2377")
    half_silent.post(encode_purpose(Lane.CONTROL))

    for link in (silent, half_silent):
        await expect_hang_up(link)


async def post_twice(link: Link) -> None:
    for frame in (b"one", b"two", b"the end"):
        link.post(frame)
    with contextlib.suppress(LinkClosed):
        await link.receive()


async def test_a_snapshot_has_a_link_of_its_own(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    bob = await cluster.start(BOB, ALICE, BOB)

    await alice.links.send_snapshot(BOB, post_twice)

    assert bob.events.bulk == [(ALICE, b"one"), (ALICE, b"two")]
    assert bob.events.messages == []


async def test_a_new_snapshot_takes_the_place_of_one_that_stands_still(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB, CAROL)
    old = await cluster.plug(CAROL).connect("127.0.0.1:2377")
    old.post(encode_purpose(Lane.BULK))
    old.post(encode_introduction(Introduction(group=GROUP, sender=CAROL, to=ALICE)))
    await wait_all_tasks_blocked()
    bob = await cluster.start(BOB, ALICE, BOB)

    await bob.links.send_snapshot(ALICE, post_twice)

    before = trio.current_time()
    await expect_hang_up(old)
    assert trio.current_time() == before
    assert alice.events.bulk == [(BOB, b"one"), (BOB, b"two")]


async def test_a_snapshot_for_whoever_is_not_there_is_not_sent(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)

    async def never(_: Link) -> None:
        raise AssertionError("there is nobody to stream to")

    await alice.links.send_snapshot(99, never)
    await alice.links.send_snapshot(BOB, never)


async def test_bulk_data_waits_while_messages_do(cluster: Cluster, autojump_clock: MockClock) -> None:
    alice = await cluster.start(ALICE, ALICE, BOB)
    await cluster.start(BOB, ALICE, BOB)
    await trio.sleep(1)
    entry = Entry(index=1, term=1, kind=EntryKind.COMMANDS, first_command=1, command_count=1, data=bytes(1024 * 1024))
    append = AppendEntries(sender=ALICE, to=BOB, term=1, previous_index=0, previous_term=0, entries=(entry,))

    with trio.move_on_after(10) as nothing_queued:
        await alice.links.wait_room()
    while alice.links.post(append):
        pass
    with trio.move_on_after(0) as crowded:
        await alice.links.wait_room()

    assert not nothing_queued.cancelled_caught
    assert crowded.cancelled_caught


async def test_on_real_sockets_a_stopped_process_is_noticed_in_milliseconds(nursery: trio.Nursery) -> None:
    async with (
        open_plain_network(Identity("alice", MANAGER, "cluster"), local_host="127.0.0.1") as alice_network,
        open_plain_network(Identity("bob", MANAGER, "cluster"), local_host="127.0.0.2") as bob_network,
    ):
        bob = make_node(bob_network, BOB)
        bound: list[str] = []
        nursery.start_soon(bob.run, "127.0.0.2:0", bound.append)
        await wait_all_tasks_blocked()
        alice = make_node(alice_network, ALICE)
        alice.links.set_configuration(
            Configuration(voters=(MemberInfo(id=BOB, address=bound[0], name="bob"),)),
        )
        nursery.start_soon(alice.host.run)
        nursery.start_soon(alice.links.run)
        with trio.fail_after(2):
            await alice.events.wait_told("connected", BOB)

        bob.scope.cancel()
        with trio.fail_after(0.2):
            await alice.events.wait_told("stopped", BOB)
