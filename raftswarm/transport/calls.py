"""Calls over a link: many at a time, each answered once or by a stream; cancelling either side ends the other.

Any exception of `raftswarm.errors` that a handler raises reaches the caller as the same type (`NotLeader`,
`RequestRefused`, …); anything else is logged where it happened and arrives as RequestRefused(code="Internal").

A stream's server sends only what the caller has said it has room for (`STREAM_WINDOW` items), so a slow reader slows
its stream down and nothing else on the link.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from itertools import count
from typing import Final, Protocol

import attrs
import trio

from raftswarm.errors import LinkClosed, Overloaded, PayloadTooLarge, RaftSwarmError, RequestRefused
from raftswarm.transport.helpers import open_helpers
from raftswarm.wire.call_codec import (
    MAX_BODY_BYTES,
    STREAM_WINDOW,
    CallFrame,
    FrameKind,
    cut_frames,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    read_count,
    read_frame,
    write_count,
    write_frame,
)
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import decode_failure, encode_failure
from raftswarm.wire.frames import MAX_FRAME_BYTES
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.wire.requests import AnyAnswer, AnyRequest
from raftswarm.world.network import Identity, Link, Network

logger = logging.getLogger("raftswarm.transport")

MAX_OPEN_CALLS: Final = 1024
"""By one caller on one link."""
_MAX_ANONYMOUS_REQUEST_BYTES: Final = 64 * 1024
_MAX_REQUEST_BYTES: Final = MAX_FRAME_BYTES - 1024


class Handler(Protocol):
    """Serves requests. The caller's role has been checked against `allowed_roles`."""

    async def answer(self, caller: Identity | None, remote_address: str, request: AnyRequest) -> AnyAnswer:
        """Serve a request that has one answer."""
        ...

    def stream(
        self, caller: Identity, remote_address: str, request: AnyRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[AnyAnswer]]:
        """Serve a request that is answered by a stream (`OpenSession`, `GetAssignments`)."""
        ...


# The serving side.


async def serve_calls(link: Link, handler: Handler) -> None:
    """Serve one link until it ends; every call is a task of its own."""
    async with trio.open_nursery() as nursery:
        server = _Server(link, handler, nursery)
        try:
            while True:
                server.take(read_frame(await link.receive()))
        except LinkClosed:
            pass
        except WireError as error:
            logger.warning("calls from %s: %s", link.remote_address, error)
            await link.aclose()
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Served:
    """A call being served."""

    number: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    room: int = STREAM_WINDOW
    """How many more items its caller can keep."""
    room_made: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)


class _Server:
    def __init__(self, link: Link, handler: Handler, nursery: trio.Nursery) -> None:
        self._link = link
        self._handler = handler
        self._nursery = nursery
        self._calls: dict[int, _Served] = {}

    def take(self, frame: CallFrame) -> None:
        """Do what a frame from the caller asks for."""
        call = self._calls.get(frame.call)
        match frame.kind:
            case FrameKind.CALL | FrameKind.STREAM:
                if call is not None:
                    raise WireError(f"call {frame.call} was opened twice")
                if len(self._calls) >= 2 * MAX_OPEN_CALLS:  # Some may be cancelled there, and not yet here.
                    raise WireError(f"more than {MAX_OPEN_CALLS} calls are open on one link")
                self._calls[frame.call] = call = _Served(frame.call)
                self._nursery.start_soon(self._serve, call, frame)
            case FrameKind.CANCEL:
                if call is not None:
                    call.scope.cancel()
            case FrameKind.TAKEN:
                taken = read_count(frame.body)
                if call is not None:
                    call.room = min(call.room + taken, STREAM_WINDOW)
                    call.room_made.unpark_all()
            case _:
                raise WireError(f"a caller cannot send {frame.kind.name}")

    async def _serve(self, call: _Served, frame: CallFrame) -> None:
        try:
            with call.scope:
                try:
                    await self._answer(call, frame)
                except Exception as error:  # noqa: BLE001 - whatever a handler raises is its caller's answer
                    await self._send(FrameKind.FAILURE, call, encode_failure(self._as_failure(error, frame)))
        except LinkClosed:
            pass  # Nobody is left to hear the answer; `serve_calls` is about to end.
        finally:
            del self._calls[call.number]

    async def _answer(self, call: _Served, frame: CallFrame) -> None:
        peer, address = self._link.peer, self._link.remote_address
        if peer is None and len(frame.body) > _MAX_ANONYMOUS_REQUEST_BYTES:
            raise RequestRefused("the request is too large for a caller without a certificate", code="InvalidArgument")
        request = decode_request(frame.body)
        _check_role(peer, request)
        if frame.kind is FrameKind.CALL:
            answer = await self._handler.answer(peer, address, request)
            await self._send(FrameKind.ANSWER, call, _encode_body(answer))
            return
        if peer is None:
            raise RequestRefused("a stream needs a caller with a certificate", code="PermissionDenied")
        async with self._handler.stream(peer, address, request) as items, _closing(items):
            async for item in items:
                while not call.room:
                    await call.room_made.park()
                call.room -= 1
                await self._send(FrameKind.ITEM, call, _encode_body(item))
        await self._send(FrameKind.END, call)

    async def _send(self, kind: FrameKind, call: _Served, body: bytes = b"") -> None:
        for frame in cut_frames(kind, call.number, body):
            while not self._link.post(frame):
                await self._link.wait_room()

    def _as_failure(self, error: Exception, frame: CallFrame) -> RaftSwarmError:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # A handler's nursery wraps what happens in it.
        if isinstance(error, RaftSwarmError):
            return error
        logger.error(
            "call %d from %s failed", frame.call, self._link.remote_address, exc_info=(type(error), error, None)
        )
        return RequestRefused(
            f"the node failed to serve this request ({type(error).__name__}); its log says more", code="Internal"
        )


def _closing(items: AsyncIterator[AnyAnswer]) -> AbstractAsyncContextManager[object]:
    return aclosing(items) if isinstance(items, AsyncGenerator) else nullcontext()


def _check_role(caller: Identity | None, request: AnyRequest) -> None:
    role = caller.role if caller is not None else ""
    if role not in request.allowed_roles:
        wanted = " or ".join(allowed for allowed in request.allowed_roles if allowed)
        who = f"is a {role}" if role else "showed no certificate"
        raise RequestRefused(
            f"{type(request).__name__} is for a {wanted}, and the caller {who}", code="PermissionDenied"
        )


def _encode_body(answer: AnyAnswer) -> bytes:
    body = encode_answer(answer)
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"the answer has {len(body)} bytes, and {MAX_BODY_BYTES} are allowed: ask for less")
    return body


# The calling side.


@asynccontextmanager
async def open_caller(network: Network, address: str, *, expect_node: str | None = None) -> AsyncIterator[Caller]:
    """Dial a manager, call it in the block, hang up after it."""
    link = await network.connect(address, expect_node=expect_node)
    async with use_caller(link) as caller:
        yield caller


@asynccontextmanager
async def use_caller(link: Link) -> AsyncIterator[Caller]:
    """Call over a link that is already open and fresh (`bootstrap_connect`); it is closed after the block."""
    try:
        async with open_helpers() as nursery:
            caller = Caller(link)
            nursery.start_soon(caller.run)
            yield caller
    finally:
        await link.aclose()


@attrs.define(eq=False)
class _Call:
    """A call that waits for answers."""

    number: int
    answers: deque[AnyAnswer] = attrs.field(factory=deque)
    pieces: list[bytes] = attrs.field(factory=list)
    piece_bytes: int = 0
    untold: int = 0
    """Items taken that the server has not been told of."""
    ended: bool = False
    failure: RaftSwarmError | None = None
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def end(self, failure: RaftSwarmError | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.failure = failure
            self.news.unpark_all()

    def add_piece(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.piece_bytes += len(piece)
        if self.piece_bytes > MAX_BODY_BYTES:
            raise WireError(f"an answer is longer than {MAX_BODY_BYTES} bytes")

    def take_body(self, last: bytes) -> bytes:
        body = b"".join([*self.pieces, last])
        self.pieces.clear()
        self.piece_bytes = 0
        return body


class Caller:
    """The calling side of one link, fresh from `connect`. Run `run` in a nursery beside its users."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count(1)
        self._calls: dict[int, _Call] = {}
        self._unsent: deque[bytes] = deque()
        """What must be said and found the queue full: at most one frame per open or cancelled call."""
        self._to_send = trio.lowlevel.ParkingLot()
        link.post(encode_purpose(Lane.CALLS))

    @property
    def peer(self) -> Identity | None:
        """Who is called."""
        return self._link.peer

    async def run(self) -> None:
        """Carry answers to their callers until the link ends; then every open call gets LinkClosed."""
        reason = "the link was closed here"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_unsent)
                try:
                    while True:
                        self._take(read_frame(await self._link.receive()))
                except LinkClosed as error:
                    reason = str(error)
                except WireError as error:
                    logger.warning("answers from %s: %s", self._link.remote_address, error)
                    reason = str(error)
                nursery.cancel_scope.cancel()
        finally:
            for call in self._calls.values():
                call.end(LinkClosed(reason))
            await self._link.aclose()

    async def call(self, request: AnyRequest) -> AnyAnswer:
        """Ask and wait; cancelling tells the other side."""
        async with self._open(FrameKind.CALL, request) as call:
            answer = await self._next(call)
        if answer is None:
            raise RequestRefused("the other node answered with nothing", code="Internal")
        return answer

    @asynccontextmanager
    async def stream(self, request: AnyRequest) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        """Ask and iterate; leaving the context tells the other side."""
        async with self._open(FrameKind.STREAM, request) as call, aclosing(self._iterate(call)) as items:
            yield items

    @asynccontextmanager
    async def _open(self, kind: FrameKind, request: AnyRequest) -> AsyncIterator[_Call]:
        body = encode_request(request)
        if len(body) > _MAX_REQUEST_BYTES:
            raise PayloadTooLarge(f"the request has {len(body)} bytes, and {_MAX_REQUEST_BYTES} are allowed")
        if len(self._calls) >= MAX_OPEN_CALLS:
            raise Overloaded(f"{MAX_OPEN_CALLS} calls to {self._link.remote_address} are open already; wait for some")
        call = _Call(next(self._numbers))
        frame = write_frame(kind, call.number, body)
        while not self._link.post(frame):
            await self._link.wait_room()
        self._calls[call.number] = call
        try:
            yield call
        finally:
            del self._calls[call.number]
            if not call.ended:
                self._say(write_frame(FrameKind.CANCEL, call.number))

    async def _iterate(self, call: _Call) -> AsyncGenerator[AnyAnswer, None]:
        while (answer := await self._next(call)) is not None:
            call.untold += 1
            if call.untold >= STREAM_WINDOW // 2 and not call.ended:
                self._say(write_frame(FrameKind.TAKEN, call.number, write_count(call.untold)))
                call.untold = 0
            yield answer

    async def _next(self, call: _Call) -> AnyAnswer | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not call.answers:
            if call.failure is not None:
                raise call.failure
            if call.ended:
                return None
            await call.news.park()
        return call.answers.popleft()

    def _take(self, frame: CallFrame) -> None:
        call = self._calls.get(frame.call)
        if call is None or call.ended:
            return  # An answer that crossed our cancelling it.
        match frame.kind:
            case FrameKind.PIECE:
                call.add_piece(frame.body)
            case FrameKind.ANSWER | FrameKind.ITEM:
                if len(call.answers) >= STREAM_WINDOW:
                    raise WireError("the server sent more than there was room for")
                call.answers.append(decode_answer(call.take_body(frame.body)))
                call.news.unpark_all()
                if frame.kind is FrameKind.ANSWER:
                    call.end()
            case FrameKind.END:
                call.end()
            case FrameKind.FAILURE:
                call.end(decode_failure(call.take_body(frame.body)))
            case _:
                raise WireError(f"a server cannot send {frame.kind.name}")

    def _say(self, frame: bytes) -> None:
        if self._unsent or not self._link.post(frame):
            self._unsent.append(frame)
            self._to_send.unpark()

    async def _send_unsent(self) -> None:
        try:
            while True:
                while not self._unsent:
                    await self._to_send.park()
                await self._link.wait_room()
                while self._unsent and self._link.post(self._unsent[0]):
                    self._unsent.popleft()
        except LinkClosed:
            pass  # `run` hears of it too.
