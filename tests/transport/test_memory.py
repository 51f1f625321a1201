"""Links in memory keep the promises of `world.network`, under any clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.ca import MANAGER, WORKER, Credentials, Identity, root_digest
from raftswarm.errors import ConnectionRefused, InvalidToken, LinkClosed, LinkError, NotAuthentic
from raftswarm.transport.memory import MemoryCable, MemoryNetwork
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

Make = Callable[..., Credentials]
ADDRESS = "10.0.0.1:2377"


async def echo(link: Link) -> None:
    while True:
        link.post(await link.receive())


async def serve(
    nursery: trio.Nursery,
    network: MemoryNetwork,
    handler: Callable[[Link], Awaitable[None]] = echo,
    address: str = ADDRESS,
) -> str:
    bound: list[str] = []

    async def run() -> None:
        await network.serve(address, handler, started=bound.append)

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    return bound[0]


async def test_both_ends_learn_who_the_other_is_and_from_where(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    callers: list[tuple[Identity | None, str]] = []

    async def note_caller(link: Link) -> None:
        callers.append((link.peer, link.remote_address.partition(":")[0]))
        await echo(link)

    cable = MemoryCable()
    await serve(nursery, cable.plug("10.0.0.1", clock, make_credentials("alice")), note_caller)
    link = await cable.plug("10.0.0.2", clock, make_credentials("bob", WORKER)).connect(ADDRESS, expect_node="alice")
    link.post(b"hello")

    assert await link.receive() == b"hello"
    assert link.peer == Identity("alice", MANAGER, "cluster")
    assert link.remote_address == ADDRESS
    assert callers == [(Identity("bob", WORKER, "cluster"), "10.0.0.2")]


async def test_certificates_are_judged_as_on_real_links(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    cable = MemoryCable()
    await serve(nursery, cable.plug("10.0.0.1", clock, make_credentials("alice")))
    expired = make_credentials("bob", issued_ns=0, validity=timedelta(days=1))
    for credentials, reason in (
        (make_credentials("bob", swarm="theirs"), "another swarm"),
        (make_credentials("bob", cluster_id="other"), "not to other"),
        (expired, "refused this node: .*bob expired"),
    ):
        with pytest.raises(NotAuthentic, match=reason):
            await cable.plug("10.0.0.2", clock, credentials).connect(ADDRESS)


async def test_a_joiner_trusts_the_root_its_token_pins_and_no_other(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    cable, credentials = MemoryCable(), make_credentials("alice")
    await serve(nursery, cable.plug("10.0.0.1", clock, credentials))
    joiner = cable.plug("10.0.0.2", clock)

    with pytest.raises(NotAuthentic, match="has to join"):
        await joiner.connect(ADDRESS)
    with pytest.raises(InvalidToken):
        await joiner.bootstrap_connect(ADDRESS, b"\x00" * 32)
    link, roots = await joiner.bootstrap_connect(ADDRESS, root_digest(credentials.roots))
    link.post(b"let me in")
    assert await link.receive() == b"let me in"
    assert roots == credentials.roots

    joiner.renew(make_credentials("bob", WORKER))
    assert (await joiner.connect(ADDRESS)).peer == Identity("alice", MANAGER, "cluster")


async def test_a_joiner_is_not_taken_in_by_a_worker(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    cable, credentials = MemoryCable(), make_credentials("bob", WORKER)
    await serve(nursery, cable.plug("10.0.0.1", clock, credentials))

    with pytest.raises(NotAuthentic, match="is a swarm-worker, and this needs a swarm-manager"):
        await cable.plug("10.0.0.2", clock).bootstrap_connect(ADDRESS, root_digest(credentials.roots))


async def test_a_queue_that_nobody_drains_refuses_and_later_has_room(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    far: list[Link] = []

    async def keep(link: Link) -> None:
        far.append(link)
        await trio.sleep_forever()

    cable = MemoryCable(queue_bytes=1000)
    await serve(nursery, cable.plug("10.0.0.1", clock, make_credentials()), keep)
    link = await cable.plug("10.0.0.2", clock, make_credentials("bob")).connect(ADDRESS)
    assert link.post(b"x" * 5000), "one frame may be larger than the queue"
    assert not link.post(b"")
    await wait_all_tasks_blocked()

    room = trio.Event()

    async def wait() -> None:
        await link.wait_room()
        room.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert not room.is_set()
    await far[0].receive()
    await wait_all_tasks_blocked()
    assert room.is_set()
    assert link.post(b"next")


async def test_what_was_posted_before_closing_arrives_and_then_the_end(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async def say_and_close(link: Link) -> None:
        link.post(b"last words")
        await link.aclose()

    cable = MemoryCable()
    await serve(nursery, cable.plug("10.0.0.1", clock, make_credentials()), say_and_close)
    link = await cable.plug("10.0.0.2", clock, make_credentials("bob")).connect(ADDRESS)
    await wait_all_tasks_blocked()

    assert await link.receive() == b"last words"
    with pytest.raises(LinkClosed):
        await link.receive()
    with pytest.raises(LinkClosed):
        await link.wait_room()
    assert not link.post(b"too late")
    assert cable._wires == []


async def test_killing_a_host_breaks_its_links_and_frees_its_ports(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    cable = MemoryCable()
    alice = cable.plug("10.0.0.1", clock, make_credentials())
    await serve(nursery, alice)
    bob = cable.plug("10.0.0.2", clock, make_credentials("bob"))
    link = await bob.connect(ADDRESS)

    cable.kill("10.0.0.1")

    with pytest.raises(LinkClosed, match=r"10.0.0.1 was killed"):
        await link.receive()
    with pytest.raises(ConnectionRefused, match="nothing listens"):
        await bob.connect(ADDRESS)
    await serve(nursery, alice)
    await bob.connect(ADDRESS)


async def test_a_listener_that_ends_gives_its_port_back(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    cable = MemoryCable()
    alice = cable.plug("10.0.0.1", clock, make_credentials())
    async with trio.open_nursery() as listening:
        await serve(listening, alice)
        with pytest.raises(LinkError, match="the port is in use"):
            await alice.serve(ADDRESS, echo, started=lambda _: None)
        link = await alice.connect(ADDRESS)
        listening.cancel_scope.cancel()

    with pytest.raises(LinkClosed):
        await link.receive()
    with pytest.raises(ConnectionRefused):
        await alice.connect(ADDRESS)


async def test_port_zero_takes_a_free_port(make_credentials: Make, clock: WallClock, nursery: trio.Nursery) -> None:
    cable = MemoryCable()
    alice = cable.plug("10.0.0.1", clock, make_credentials())
    one = await serve(nursery, alice, address="10.0.0.1:0")
    other = await serve(nursery, alice, address="10.0.0.1:0")

    assert one != other
    assert (await alice.connect(other)).remote_address == other


async def test_plain_links_in_memory_take_each_others_word_within_a_cluster(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    cable = MemoryCable()
    alice, bob = Identity("alice", MANAGER, "cluster"), Identity("bob", MANAGER, "cluster")
    network = cable.plug_plain("alice", bob)
    nursery.start_soon(partial(cable.plug_plain("bob", alice).serve, "bob:1", echo, started=lambda _: None))
    await wait_all_tasks_blocked()

    link = await network.connect("bob:1", expect_node="alice")
    link.post(b"hello")

    assert await link.receive() == b"hello"
    assert link.peer == alice
    with pytest.raises(NotAuthentic, match="is node alice, not carol"):
        await network.connect("bob:1", expect_node="carol")
    with pytest.raises(NotAuthentic, match="belongs to cluster other"):
        await cable.plug_plain("eve", Identity("eve", MANAGER, "other")).connect("bob:1")
    with pytest.raises(NotAuthentic, match="no certificate"):
        await cable.plug("carol", clock, make_credentials("carol")).connect("bob:1")
