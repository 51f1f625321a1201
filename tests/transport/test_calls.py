"""Calls over links, in memory (SWARM 7 and 10.3 need them, and followers that forward)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from raftswarm.ca import MANAGER, WORKER, Credentials, Identity, root_digest
from raftswarm.errors import LinkClosed, NotLeader, PayloadTooLarge, RequestRefused
from raftswarm.transport.calls import Caller, open_caller, serve_calls, use_caller
from raftswarm.transport.member_links import route_link
from raftswarm.transport.memory import MemoryCable
from raftswarm.wire.call_codec import (
    STREAM_WINDOW,
    CallFrame,
    FrameKind,
    encode_answer,
    encode_request,
    read_frame,
    write_frame,
)
from raftswarm.wire.failures import decode_failure
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.wire.requests import (
    AnyAnswer,
    AnyRequest,
    BeatHeart,
    Control,
    Controlled,
    Done,
    GetAssignments,
    HeartBeaten,
    IssueCertificate,
    IssuedCertificate,
    LeaveMembers,
)
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

ADDRESS = "127.0.0.1:2377"
Answer = Callable[[AnyRequest], Awaitable[AnyAnswer]]


@attrs.define
class FakeHandler:
    """Answers with what the test says; notes who asked and what ended."""

    reply: Answer | None = None
    items: int = 0
    stream_of: list[AnyAnswer] = attrs.field(factory=list)
    hangs: bool = False
    """After the last item."""
    asked: list[tuple[Identity | None, str, AnyRequest]] = attrs.field(factory=list)
    sent: int = 0
    cancelled: int = 0

    async def answer(self, caller: Identity | None, remote_address: str, request: AnyRequest) -> AnyAnswer:
        self.asked.append((caller, remote_address, request))
        try:
            if self.reply is not None:
                return await self.reply(request)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return Controlled(body=request.body) if isinstance(request, Control) else Done()

    @asynccontextmanager
    async def stream(
        self, caller: Identity, remote_address: str, request: AnyRequest
    ) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        self.asked.append((caller, remote_address, request))

        async def count() -> AsyncIterator[AnyAnswer]:
            for item in self.stream_of:
                yield item
            for number in range(self.items):
                yield HeartBeaten(period_seconds=number)
                self.sent += 1
            if self.hangs:
                await trio.sleep_forever()

        try:
            yield count()
        except trio.Cancelled:
            self.cancelled += 1
            raise


@attrs.define
class Swarm:
    """A manager that serves, and nodes that call it."""

    cable: MemoryCable
    clock: WallClock
    make_credentials: Callable[..., Credentials]
    nursery: trio.Nursery

    async def serve(self, handler: FakeHandler) -> None:
        manager = self.cable.plug("127.0.0.1", self.clock, self.make_credentials("alice"))

        async def calls(link: Link) -> None:
            await serve_calls(link, handler)

        async def members(link: Link, lane: Lane) -> None:
            raise AssertionError("nobody calls as a member here")

        async def serve(link: Link) -> None:
            await route_link(link, calls=calls, members=members)

        listening = trio.Event()

        async def run() -> None:
            await manager.serve(ADDRESS, serve, started=lambda _: listening.set())

        self.nursery.start_soon(run)
        await listening.wait()

    async def connect(self, role: str = MANAGER) -> Link:
        return await self.cable.plug("127.0.0.2", self.clock, self.make_credentials("bob", role)).connect(ADDRESS)

    @asynccontextmanager
    async def calling(self, role: str = MANAGER) -> AsyncIterator[Caller]:
        async with use_caller(await self.connect(role)) as caller:
            yield caller


@pytest.fixture
def swarm(make_credentials: Callable[..., Credentials], clock: WallClock, nursery: trio.Nursery) -> Swarm:
    return Swarm(MemoryCable(queue_bytes=1024 * 1024), clock, make_credentials, nursery)


async def test_a_call_is_answered_and_its_caller_known(swarm: Swarm) -> None:
    handler = FakeHandler()
    await swarm.serve(handler)

    async with swarm.calling() as caller:
        assert await caller.call(Control(body=b"question")) == Controlled(body=b"question")
    caller_seen, address_seen, _ = handler.asked[0]
    assert caller_seen == Identity("bob", MANAGER, "cluster")
    assert address_seen.startswith("127.0.0.2:")


async def test_calls_do_not_wait_for_each_other(swarm: Swarm) -> None:
    second_served = trio.Event()

    async def reply(request: AnyRequest) -> AnyAnswer:
        assert isinstance(request, Control)
        if request.body == b"first":
            await second_served.wait()
        else:
            second_served.set()
        return Controlled(body=request.body)

    await swarm.serve(FakeHandler(reply))
    answers: list[AnyAnswer] = []

    async with swarm.calling() as caller, trio.open_nursery() as callers:

        async def ask(body: bytes) -> None:
            answers.append(await caller.call(Control(body=body)))

        callers.start_soon(ask, b"first")
        await wait_all_tasks_blocked()
        callers.start_soon(ask, b"second")

    assert sorted(answers, key=str) == [Controlled(body=b"first"), Controlled(body=b"second")]


async def test_an_answer_larger_than_a_frame_arrives_whole(swarm: Swarm) -> None:
    body = bytes(range(256)) * 40_000

    async def reply(request: AnyRequest) -> AnyAnswer:
        return Controlled(body=body)

    await swarm.serve(FakeHandler(reply))

    async with swarm.calling() as caller:
        assert await caller.call(Control(body=b"")) == Controlled(body=body)


async def test_a_request_larger_than_a_frame_is_refused_where_it_is_made(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler())

    async with swarm.calling() as caller:
        with pytest.raises(PayloadTooLarge, match="are allowed"):
            await caller.call(Control(body=b"x" * 5_000_000))


async def test_an_error_of_ours_arrives_as_what_it_was(swarm: Swarm) -> None:
    async def reply(request: AnyRequest) -> AnyAnswer:
        async with trio.open_nursery():
            raise NotLeader("ask the other one", leader=7)

    await swarm.serve(FakeHandler(reply))

    async with swarm.calling() as caller:
        with pytest.raises(NotLeader, match="ask the other one") as caught:
            await caller.call(LeaveMembers())
    assert caught.value.leader == 7


async def test_a_failure_of_the_handler_stays_there_but_for_its_name(
    swarm: Swarm, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(request: AnyRequest) -> AnyAnswer:
        raise ZeroDivisionError("secret details")

    await swarm.serve(FakeHandler(reply))

    async with swarm.calling() as caller:
        with pytest.raises(RequestRefused, match="ZeroDivisionError") as caught:
            await caller.call(LeaveMembers())
        assert caught.value.code == "Internal"
        assert "secret" not in str(caught.value)
        assert "secret details" in caplog.text
        with pytest.raises(RequestRefused):
            await caller.call(LeaveMembers())


async def test_a_worker_may_not_ask_what_is_for_managers(swarm: Swarm) -> None:
    handler = FakeHandler()
    await swarm.serve(handler)

    async with swarm.calling(WORKER) as caller:
        with pytest.raises(RequestRefused, match="Control is for a swarm-manager, and the caller is a swarm-worker"):
            await caller.call(Control(body=b""))
        assert await caller.call(BeatHeart(session_id="s")) == Done()
    assert [request for _, _, request in handler.asked] == [BeatHeart(session_id="s")]


async def test_a_joiner_may_ask_for_a_certificate_and_nothing_more(
    swarm: Swarm, make_credentials: Callable[..., Credentials], clock: WallClock
) -> None:
    issued = IssuedCertificate(node_id="n", cluster_id="c", role=WORKER, certificate="PEM", root_certificate="PEM")

    async def reply(request: AnyRequest) -> AnyAnswer:
        return issued

    await swarm.serve(FakeHandler(reply))
    joiner = swarm.cable.plug("127.0.0.3", clock)
    link, _ = await joiner.bootstrap_connect(ADDRESS, root_digest(make_credentials().roots))
    async with use_caller(link) as caller:
        assert await caller.call(IssueCertificate(csr="CSR")) == issued
        with pytest.raises(RequestRefused, match="showed no certificate") as caught:
            await caller.call(BeatHeart(session_id="s"))
        assert caught.value.code == "PermissionDenied"
        with pytest.raises(RequestRefused, match="a stream needs a caller with a certificate"):
            async with caller.stream(IssueCertificate(csr="CSR")) as items:
                await anext(items)


async def test_a_request_of_a_newer_version_is_unimplemented(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler())
    link = await swarm.connect()
    link.post(encode_purpose(Lane.CALLS))
    link.post(write_frame(FrameKind.CALL, 1, msgspec.msgpack.encode({"type": "Teleport"})))
    frame = read_frame(await link.receive())

    assert frame.kind is FrameKind.FAILURE
    assert decode_failure(frame.body).code == "Unimplemented"  # type: ignore[attr-defined]


async def test_cancelling_a_call_cancels_its_handler(swarm: Swarm) -> None:
    async def reply(request: AnyRequest) -> AnyAnswer:
        await trio.sleep_forever()
        raise AssertionError

    handler = FakeHandler(reply)
    await swarm.serve(handler)

    async with swarm.calling() as caller:
        async with trio.open_nursery() as callers:
            callers.start_soon(caller.call, LeaveMembers())
            await wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert handler.cancelled == 1


async def test_losing_the_link_ends_every_open_call_on_both_sides(swarm: Swarm) -> None:
    async def reply(request: AnyRequest) -> AnyAnswer:
        await trio.sleep_forever()
        raise AssertionError

    handler = FakeHandler(reply, items=1, hangs=True)
    await swarm.serve(handler)
    ended: list[str] = []

    async with swarm.calling() as caller, trio.open_nursery() as callers:

        async def ask() -> None:
            with pytest.raises(LinkClosed):
                await caller.call(LeaveMembers())
            ended.append("call")

        async def follow() -> None:
            async with caller.stream(GetAssignments(session_id="s")) as items:
                await anext(items)
                with pytest.raises(LinkClosed):
                    await anext(items)
            ended.append("stream")

        callers.start_soon(ask)
        callers.start_soon(ask)
        callers.start_soon(follow)
        await wait_all_tasks_blocked()
        swarm.cable.kill("127.0.0.1")

    assert sorted(ended) == ["call", "call", "stream"]
    await wait_all_tasks_blocked()
    assert handler.cancelled == 3


async def test_a_call_on_a_lost_link_says_so(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler())

    async with swarm.calling() as caller:
        swarm.cable.kill("127.0.0.1")
        await wait_all_tasks_blocked()
        with pytest.raises(LinkClosed, match="killed"):
            await caller.call(LeaveMembers())


async def test_a_stream_arrives_in_order_and_ends(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler(items=100))

    async with swarm.calling() as caller, caller.stream(GetAssignments(session_id="s")) as items:
        numbers = [item.period_seconds async for item in items if isinstance(item, HeartBeaten)]

    assert numbers == list(range(100))


async def test_a_stream_waits_for_a_slow_reader(swarm: Swarm) -> None:
    handler = FakeHandler(items=10_000)
    await swarm.serve(handler)

    async with swarm.calling() as caller, caller.stream(GetAssignments(session_id="s")) as items:
        await anext(items)
        await wait_all_tasks_blocked()
        assert handler.sent <= STREAM_WINDOW
        for _ in range(STREAM_WINDOW):
            await anext(items)
        await wait_all_tasks_blocked()
        assert STREAM_WINDOW < handler.sent <= 2 * STREAM_WINDOW + 1


async def test_a_stream_that_nobody_reads_does_not_hold_up_calls(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler(items=10_000))

    async with swarm.calling() as caller, caller.stream(GetAssignments(session_id="s")):
        await wait_all_tasks_blocked()
        assert await caller.call(Control(body=b"quick")) == Controlled(body=b"quick")


async def test_leaving_a_stream_ends_its_handler(swarm: Swarm) -> None:
    handler = FakeHandler(items=10_000)
    await swarm.serve(handler)

    async with swarm.calling() as caller:
        async with caller.stream(GetAssignments(session_id="s")) as items:
            await anext(items)
        await wait_all_tasks_blocked()
        assert handler.cancelled == 1


async def test_large_items_of_a_stream_arrive_whole(swarm: Swarm) -> None:
    bodies = [bytes([number]) * 600_000 for number in range(3)]
    handler = FakeHandler(stream_of=[Controlled(body=body) for body in bodies])
    await swarm.serve(handler)

    async with swarm.calling() as caller, caller.stream(GetAssignments(session_id="s")) as items:
        assert [item.body async for item in items if isinstance(item, Controlled)] == bodies


@attrs.define
class RawServer:
    """A server that the test plays frame by frame."""

    swarm: Swarm
    links: list[Link] = attrs.field(factory=list)

    async def start(self) -> None:
        manager = self.swarm.cable.plug("127.0.0.1", self.swarm.clock, self.swarm.make_credentials("alice"))

        async def keep(link: Link) -> None:
            self.links.append(link)
            await trio.sleep_forever()

        listening = trio.Event()

        async def run() -> None:
            await manager.serve(ADDRESS, keep, started=lambda _: listening.set())

        self.swarm.nursery.start_soon(run)
        await listening.wait()

    async def read(self) -> CallFrame:
        return read_frame(await self.links[0].receive())


async def test_a_server_that_sends_more_than_there_is_room_for_is_hung_up_on(swarm: Swarm) -> None:
    server = RawServer(swarm)
    await server.start()

    async with swarm.calling() as caller, caller.stream(GetAssignments(session_id="s")) as items:
        await wait_all_tasks_blocked()
        for _ in range(STREAM_WINDOW + 1):
            server.links[0].post(write_frame(FrameKind.ITEM, 1, encode_answer(Done())))
        await wait_all_tasks_blocked()
        for _ in range(STREAM_WINDOW):
            assert await anext(items) == Done()
        with pytest.raises(LinkClosed, match="more than there was room for"):
            await anext(items)


async def test_a_cancellation_that_finds_the_queue_full_is_sent_when_there_is_room(swarm: Swarm) -> None:
    server = RawServer(swarm)
    await server.start()

    link = await swarm.connect()
    async with use_caller(link) as caller:
        async with trio.open_nursery() as callers:
            callers.start_soon(caller.call, LeaveMembers())
            await wait_all_tasks_blocked()
            while link.post(write_frame(FrameKind.TAKEN, 99, b"x" * 1000)):
                pass
            while link.post(write_frame(FrameKind.TAKEN, 99)):
                pass
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()

        await server.links[0].receive()
        frames = [await server.read()]
        with trio.move_on_after(0.1):
            while frames[-1].kind is not FrameKind.CANCEL:
                frames.append(read_frame(await server.links[0].receive()))

    assert (frames[0].kind, frames[0].call) == (FrameKind.CALL, 1)
    assert (frames[-1].kind, frames[-1].call) == (FrameKind.CANCEL, 1)


async def test_nonsense_ends_its_link_only(swarm: Swarm) -> None:
    await swarm.serve(FakeHandler(hangs=True))
    question = write_frame(FrameKind.STREAM, 1, encode_request(GetAssignments(session_id="s")))
    for nonsense in (
        [b""],
        [b"\xff" * 20],
        [write_frame(FrameKind.END, 3)],
        [write_frame(FrameKind.TAKEN, 1, b"x")],
        [question, question],
    ):
        link = await swarm.connect()
        link.post(encode_purpose(Lane.CALLS))
        for frame in nonsense:
            link.post(frame)
        with pytest.raises(LinkClosed):
            await link.receive()

    async with swarm.calling() as caller:
        assert await caller.call(LeaveMembers()) == Done()


async def test_a_block_that_calls_gets_its_own_errors_back(
    swarm: Swarm, make_credentials: Callable[..., Credentials], clock: WallClock
) -> None:
    await swarm.serve(FakeHandler())
    network = swarm.cable.plug("127.0.0.2", clock, make_credentials("bob"))

    async def fail_in_a_block() -> None:
        async with open_caller(network, ADDRESS, expect_node="alice") as caller:
            assert caller.peer == Identity("alice", MANAGER, "cluster")
            raise KeyError

    with pytest.raises(KeyError):
        await fail_in_a_block()
