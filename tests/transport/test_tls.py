"""Mutual TLS 1.3 between nodes, on real sockets (SWARM 10.1, 10.3)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import trio

from raftswarm.ca import MANAGER, WORKER, Credentials, Identity, root_digest
from raftswarm.errors import ConnectionRefused, InvalidToken, LinkClosed, LinkError, NotAuthentic
from raftswarm.transport import socket_network
from raftswarm.transport.admission import Admission
from raftswarm.transport.sockets import Address, Stream
from raftswarm.transport.tls import TlsChannel, TlsNetwork, _Contexts, open_tls_network
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

Make = Callable[..., Credentials]
DAY_NS = 24 * 3600 * 1_000_000_000


async def echo(link: Link) -> None:
    while True:
        frame = await link.receive()
        while not link.post(frame):
            await link.wait_room()


async def serve(
    nursery: trio.Nursery,
    network: TlsNetwork,
    handler: Callable[[Link], Awaitable[None]] = echo,
    address: str = "127.0.0.1:0",
) -> str:
    bound: list[str] = []
    listening = trio.Event()

    def started(address: str) -> None:
        bound.append(address)
        listening.set()

    async def run() -> None:
        await network.serve(address, handler, started=started)

    nursery.start_soon(run)
    await listening.wait()
    return bound[0]


async def test_both_ends_learn_who_the_other_is(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    callers: list[Identity | None] = []

    async def note_caller(link: Link) -> None:
        callers.append(link.peer)
        await echo(link)

    async with (
        open_tls_network(clock, credentials=make_credentials("alice")) as alice,
        open_tls_network(clock, credentials=make_credentials("bob", WORKER)) as bob,
    ):
        address = await serve(nursery, alice, note_caller)
        link = await bob.connect(address, expect_node="alice")
        link.post(b"hello")

        assert await link.receive() == b"hello"
        assert link.peer == Identity("alice", MANAGER, "cluster")
        assert callers == [Identity("bob", WORKER, "cluster")]


async def test_frames_of_any_allowed_size_arrive_in_order(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    frames = [b"", b"x", b"y" * 70_000, b"z" * (4 * 1024 * 1024), b"end"]
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        link = await network.connect(address)
        for frame in frames:
            assert link.post(frame)

        assert [await link.receive() for _ in frames] == frames


async def test_what_was_posted_before_closing_arrives(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async def say_much_and_close(link: Link) -> None:
        for number in range(20):
            link.post(bytes([number]) * 10_000)

    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network, say_much_and_close)
        link = await network.connect(address)

        assert [(await link.receive())[0] for _ in range(20)] == list(range(20))
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_a_node_dials_from_its_own_address(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    seen: list[str] = []

    async def note_address(link: Link) -> None:
        seen.append(link.remote_address)
        link.post(b"seen")

    async with open_tls_network(clock, local_host="127.0.0.7", credentials=make_credentials()) as network:
        address = await serve(nursery, network, note_address)
        link = await network.connect(address)
        await link.receive()

        assert seen[0].startswith("127.0.0.7:")


async def test_a_node_of_another_swarm_is_told_so_by_either_side(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    ours = make_credentials("alice")
    theirs = make_credentials("mallory", swarm="theirs")
    gullible = Credentials(theirs.certificate, theirs.key, ours.roots)
    async with open_tls_network(clock, credentials=ours) as alice:
        address = await serve(nursery, alice)
        async with open_tls_network(clock, credentials=theirs) as mallory:
            with pytest.raises(NotAuthentic, match="another swarm"):
                await mallory.connect(address)
        async with open_tls_network(clock, credentials=gullible) as mallory:
            with pytest.raises(NotAuthentic, match=r"refused this node's certificate .*another swarm"):
                await mallory.connect(address)


async def test_a_certificate_of_another_cluster_under_the_same_root_is_refused_with_the_reason(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async with (
        open_tls_network(clock, credentials=make_credentials("alice")) as alice,
        open_tls_network(clock, credentials=make_credentials("bob", cluster_id="other")) as bob,
    ):
        address = await serve(nursery, alice)
        with pytest.raises(NotAuthentic, match="node alice belongs to cluster cluster, not to other"):
            await bob.connect(address)


async def test_an_expired_caller_hears_both_dates_from_the_other_side(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    expired = make_credentials("bob", issued_ns=clock.now_ns() - 100 * DAY_NS, validity=timedelta(days=90))
    async with (
        open_tls_network(clock, credentials=make_credentials("alice")) as alice,
        open_tls_network(clock, credentials=expired) as bob,
    ):
        address = await serve(nursery, alice)
        with pytest.raises(NotAuthentic, match=r"refused this node: .*bob expired at 2027-01-05.*it is 2027-01-15"):
            await bob.connect(address)


async def test_an_expired_manager_is_not_believed(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    expired = make_credentials("alice", issued_ns=clock.now_ns() - 100 * DAY_NS, validity=timedelta(days=90))
    async with (
        open_tls_network(clock, credentials=expired) as alice,
        open_tls_network(clock, credentials=make_credentials("bob")) as bob,
    ):
        address = await serve(nursery, alice)
        with pytest.raises(NotAuthentic, match="certificate of node alice expired"):
            await bob.connect(address)


async def test_only_the_expected_manager_will_do(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async with (
        open_tls_network(clock, credentials=make_credentials("alice")) as alice,
        open_tls_network(clock, credentials=make_credentials("bob", WORKER)) as bob,
    ):
        address = await serve(nursery, alice)
        worker_address = await serve(nursery, bob)
        with pytest.raises(NotAuthentic, match="is node alice, not carol"):
            await bob.connect(address, expect_node="carol")
        with pytest.raises(NotAuthentic, match="not a manager"):
            await alice.connect(worker_address)


async def test_a_joiner_needs_only_the_digest_in_its_token(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    credentials = make_credentials("alice")
    callers: list[Identity | None] = []

    async def note_caller(link: Link) -> None:
        callers.append(link.peer)
        await echo(link)

    async with (
        open_tls_network(clock, credentials=credentials) as alice,
        open_tls_network(clock) as joiner,
    ):
        address = await serve(nursery, alice, note_caller)
        link, roots = await joiner.bootstrap_connect(address, root_digest(credentials.roots))
        link.post(b"let me in")

        assert await link.receive() == b"let me in"
        assert roots == credentials.roots
        assert callers == [None]
        assert link.peer == Identity("alice", MANAGER, "cluster")


async def test_a_joiner_refuses_a_manager_whose_root_its_token_does_not_pin(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    digest = root_digest(make_credentials().roots)
    async with (
        open_tls_network(clock, credentials=make_credentials("mallory", swarm="theirs")) as mallory,
        open_tls_network(clock) as joiner,
    ):
        address = await serve(nursery, mallory)
        with pytest.raises(InvalidToken, match=f"remote CA does not match fingerprint. Expected: {digest.hex()}"):
            await joiner.bootstrap_connect(address, digest)


async def test_a_joiner_refuses_a_stranger_who_shows_the_pinned_root(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    ours, theirs = make_credentials(), make_credentials("mallory", swarm="theirs")
    mallory_credentials = Credentials(theirs.certificate, theirs.key, ours.roots)
    async with (
        open_tls_network(clock, credentials=mallory_credentials) as mallory,
        open_tls_network(clock) as joiner,
    ):
        address = await serve(nursery, mallory)
        with pytest.raises(NotAuthentic, match="not signed by this swarm's root CA"):
            await joiner.bootstrap_connect(address, root_digest(ours.roots))


async def test_renewed_credentials_serve_new_links_and_leave_open_ones_alone(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async with (
        open_tls_network(clock, credentials=make_credentials("alice")) as alice,
        open_tls_network(clock, credentials=make_credentials("bob", WORKER)) as bob,
    ):
        address = await serve(nursery, alice)
        early = await bob.connect(address)
        alice.renew(make_credentials("alice", swarm="ours", cluster_id="renamed"))

        early.post(b"still here")
        assert await early.receive() == b"still here"
        with pytest.raises(NotAuthentic, match="renamed"):
            await bob.connect(address)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: swarm\r\n\r\n",
        bytes(range(256)) * 40,
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"",
    ],
    ids=["http", "noise", "huge length", "nothing"],
)
async def test_nonsense_on_the_port_leaves_the_listener_alive(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery, nonsense: bytes
) -> None:
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(nonsense)
        link = await network.connect(address)
        link.post(b"alive")

        assert await link.receive() == b"alive"


async def test_a_frame_that_claims_too_much_ends_its_link_only(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        good, bad = await network.connect(address), await network.connect(address)
        await bad._stream.send_all(bad._channel.seal(b"\xff\xff\xff\xff"))  # type: ignore[attr-defined]

        with pytest.raises(LinkClosed):
            await bad.receive()
        good.post(b"alive")
        assert await good.receive() == b"alive"


async def test_callers_who_say_nothing_cannot_keep_others_out(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_network, "MAX_GREETINGS", 4)
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        host, port = address.split(":")
        silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(10)]
        link = await network.connect(address)
        link.post(b"let in")

        assert await link.receive() == b"let in"
        with trio.fail_after(2):
            for caller in silent[:6]:
                assert await caller.receive_some() == b"", "the oldest made room"
        for caller in silent:
            await caller.aclose()


async def test_a_caller_who_says_nothing_is_hung_up_on(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_network, "GREETING_SECONDS", 0.05)
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        host, port = address.split(":")
        silent = await trio.open_tcp_stream(host, int(port))

        assert await silent.receive_some() == b""
        await silent.aclose()


async def test_dialling_who_never_answers_gives_up(
    make_credentials: Make, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_network, "GREETING_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        async with open_tls_network(clock, credentials=make_credentials()) as network:
            with pytest.raises(LinkError, match="did not answer within"):
                await network.connect(address)


async def test_a_port_where_nobody_listens_refuses(make_credentials: Make, clock: WallClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        with pytest.raises(ConnectionRefused, match="nothing listens on"):
            await network.connect(address)


async def test_a_port_in_use_is_an_error_that_says_what_to_do(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network)
        with pytest.raises(LinkError, match="the port is in use; stop what listens there, or choose another"):
            await network.serve(address, echo, started=lambda _: None)


async def test_a_queue_that_nobody_drains_refuses_and_later_has_room(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    drain = trio.Event()
    taken: list[int] = []

    async def read_later(link: Link) -> None:
        await drain.wait()
        while True:
            taken.append(len(await link.receive()))

    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network, read_later)
        link = await network.connect(address)
        frame = b"x" * 1024 * 1024
        posted = 0
        while link.post(frame):
            posted += 1
            await trio.testing.wait_all_tasks_blocked()

        assert 8 <= posted < 40, "more than the queue, and not without bound"
        drain.set()
        await link.wait_room()
        assert link.post(frame)


async def test_a_lost_link_never_has_room(make_credentials: Make, clock: WallClock, nursery: trio.Nursery) -> None:
    async def hang_up_on_word(link: Link) -> None:
        await link.receive()

    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network, hang_up_on_word)
        link = await network.connect(address)
        while link.post(b"x" * 1024 * 1024):
            pass

        with pytest.raises(LinkClosed):
            await link.receive()
        with pytest.raises(LinkClosed):
            await link.wait_room()
        assert not link.post(b"too late")


async def test_a_closed_link_says_so_to_both_ends(
    make_credentials: Make, clock: WallClock, nursery: trio.Nursery
) -> None:
    ended = trio.Event()

    async def wait_for_the_end(link: Link) -> None:
        with pytest.raises(LinkClosed):
            await link.receive()
        ended.set()

    async with open_tls_network(clock, credentials=make_credentials()) as network:
        address = await serve(nursery, network, wait_for_the_end)
        link = await network.connect(address)
        await link.aclose()
        await link.aclose()

        with pytest.raises(LinkClosed):
            await link.receive()
        await ended.wait()


async def test_a_key_that_does_not_belong_to_the_certificate_is_refused(
    make_credentials: Make, clock: WallClock
) -> None:
    one, other = make_credentials("alice"), make_credentials("bob")
    async with open_tls_network(clock) as network:
        with pytest.raises(NotAuthentic, match="do not fit together"):
            network.renew(Credentials(one.certificate, other.key, one.roots))


async def test_without_credentials_a_node_can_only_join(clock: WallClock) -> None:
    async with open_tls_network(clock) as network:
        with pytest.raises(NotAuthentic, match="has to join"):
            await network.connect("127.0.0.1:1")


async def shake_hands(one: Credentials, other: Credentials, clock: WallClock) -> tuple[TlsChannel, TlsChannel]:
    server = TlsChannel(_Contexts(Admission(one, clock)).server, server_side=True)
    client = TlsChannel(_Contexts(Admission(other, clock)).client, server_side=False)
    near, far = (Stream(end, Address("127.0.0.1", 1)) for end in socket.socketpair())
    for stream in (near, far):
        stream._socket.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands, near)
        nursery.start_soon(client.shake_hands, far)
    near.close()
    far.close()
    return server, client


async def test_what_came_before_a_goodbye_counts_and_then_the_end_shows(
    make_credentials: Make, clock: WallClock
) -> None:
    server, client = await shake_hands(make_credentials("alice"), make_credentials("bob"), clock)

    data = client.seal(b"last words") + client.say_goodbye()

    assert server.open(data) == b"last words"
    with pytest.raises(LinkClosed, match="good-bye"):
        server.open(b"")


async def test_what_came_before_damage_counts_and_then_the_damage_shows(
    make_credentials: Make, clock: WallClock
) -> None:
    server, client = await shake_hands(make_credentials("alice"), make_credentials("bob"), clock)
    whole, damaged = client.seal(b"whole"), bytearray(client.seal(b"damaged"))
    damaged[-1] ^= 1

    assert server.open(whole + bytes(damaged)) == b"whole"
    with pytest.raises(LinkClosed):
        server.open(b"")
