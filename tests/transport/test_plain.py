"""Links without TLS, for members embedded on one machine."""

from __future__ import annotations

import attrs
import pytest
import trio

from raftswarm.ca import MANAGER, WORKER, Identity
from raftswarm.errors import InvalidSpec, LinkClosed, NotAuthentic
from raftswarm.transport.plain import PlainNetwork, open_plain_network
from raftswarm.world.network import Link

ALICE = Identity("alice", MANAGER, "cluster")
BOB = Identity("bob", MANAGER, "cluster")


@attrs.define
class Door:
    """Who came in."""

    nursery: trio.Nursery
    callers: list[Identity | None] = attrs.field(factory=list)

    async def serve(self, network: PlainNetwork) -> str:
        bound: list[str] = []
        listening = trio.Event()

        def started(address: str) -> None:
            bound.append(address)
            listening.set()

        async def run() -> None:
            await network.serve("127.0.0.1:0", self.echo, started=started)

        self.nursery.start_soon(run)
        await listening.wait()
        return bound[0]

    async def echo(self, link: Link) -> None:
        self.callers.append(link.peer)
        while True:
            link.post(await link.receive())


@pytest.fixture
def door(nursery: trio.Nursery) -> Door:
    return Door(nursery)


async def test_both_ends_take_each_others_word(door: Door) -> None:
    async with open_plain_network(ALICE) as alice, open_plain_network(BOB) as bob:
        address = await door.serve(alice)
        link = await bob.connect(address, expect_node="alice")
        link.post(b"hello")

        assert await link.receive() == b"hello"
        assert link.peer == ALICE
        assert door.callers == [BOB]


async def test_what_is_posted_right_after_the_greeting_is_not_lost(nursery: trio.Nursery) -> None:
    class Eager(Door):
        async def echo(self, link: Link) -> None:
            link.post(b"first")
            link.post(b"second")
            await trio.sleep_forever()

    async with open_plain_network(ALICE) as alice:
        link = await alice.connect(await Eager(nursery).serve(alice))

        assert [await link.receive(), await link.receive()] == [b"first", b"second"]


@pytest.mark.parametrize(
    ("caller", "expected", "reason"),
    [
        (Identity("bob", MANAGER, "other"), "alice", "refused this node: node bob belongs to cluster other"),
        (BOB, "carol", "is node alice, not carol"),
    ],
)
async def test_whoever_does_not_fit_hears_why(door: Door, caller: Identity, expected: str, reason: str) -> None:
    async with open_plain_network(ALICE) as alice, open_plain_network(caller) as other:
        address = await door.serve(alice)
        with pytest.raises(NotAuthentic, match=reason):
            await other.connect(address, expect_node=expected)


async def test_only_managers_are_dialled(door: Door) -> None:
    async with open_plain_network(Identity("alice", WORKER, "cluster")) as alice:
        address = await door.serve(alice)
        with pytest.raises(NotAuthentic, match="not a manager"):
            await alice.connect(address)


async def test_nothing_leaves_the_machine(door: Door) -> None:
    async with open_plain_network(ALICE) as alice:
        with pytest.raises(InvalidSpec, match="stay on this machine"):
            await alice.connect("192.0.2.1:2377")
        with pytest.raises(InvalidSpec, match="stay on this machine"):
            await alice.serve("0.0.0.0:0", door.echo, started=lambda _: None)


async def test_nonsense_on_the_port_leaves_the_listener_alive(door: Door) -> None:
    async with open_plain_network(ALICE) as alice:
        address = await door.serve(alice)
        host, port = address.split(":")
        for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\0\0\0\x01\xc1"):
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(nonsense)
            with pytest.raises(LinkClosed):
                await _read_to_the_end(stream)
            await stream.aclose()
        link = await alice.connect(address)
        link.post(b"alive")

        assert await link.receive() == b"alive"


async def _read_to_the_end(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
    raise LinkClosed


async def test_leaving_the_network_closes_its_links(door: Door) -> None:
    async with open_plain_network(ALICE) as alice:
        address = await door.serve(alice)
        async with open_plain_network(BOB) as bob:
            link = await bob.connect(address)
        with pytest.raises(LinkClosed):
            await link.receive()
        assert not link.post(b"too late")
