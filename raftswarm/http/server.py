"""An HTTP/1.1 server for one handler: h11 decides what the bytes mean, trio moves them.

A connection is one task that serves one request after another. While the handler works, a second task listens on the
connection, so that a client who hangs up cancels what nobody waits for any more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import attrs
import h11
import trio

from raftswarm.http.messages import Hijacked, MalformedMessage, Request, Response, Streamed, error_response

logger = logging.getLogger("raftswarm.http")

Handler = Callable[[Request], Awaitable[Response]]

_CHUNK: Final = 65536
_LINGER_SECONDS: Final = 2.0


@attrs.frozen(kw_only=True)
class ServerLimits:
    """What one client may ask of the server."""

    head_bytes: int = 65536
    body_bytes: int = 16 * 1024 * 1024
    head_seconds: float = 30.0
    """From the first byte of a request to the end of its head."""
    body_seconds: float = 60.0
    """Between two pieces of a body."""
    idle_seconds: float = 300.0
    """Between two requests."""


async def serve_http(
    handler: Handler, listeners: Sequence[trio.abc.Listener[Any]], limits: ServerLimits | None = None
) -> NoReturn:
    """Serve until cancelled; what the handler raises is answered with 500 and logged."""
    serve = partial(serve_connection, handler, limits=limits or ServerLimits())
    await trio.serve_listeners(serve, list(listeners))


async def serve_connection(handler: Handler, stream: trio.abc.HalfCloseableStream, *, limits: ServerLimits) -> None:
    """Serve one client until it leaves."""
    connection = _Connection(handler, stream, limits)
    try:
        async with stream:
            await connection.run()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # The client went away.
    except Exception:
        # Whatever one client provokes, the others are served.
        logger.exception("a connection ended by an error")


class _Connection:
    def __init__(self, handler: Handler, stream: trio.abc.HalfCloseableStream, limits: ServerLimits) -> None:
        self._handler = handler
        self._stream = stream
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)

    async def run(self) -> None:
        while True:
            try:
                request = await self._receive_request()
            except MalformedMessage as error:
                await self._refuse(error)
                return
            if request is None or not await self._serve(request):
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _receive_request(self) -> Request | None:
        """Read one request with its body; None when there is none to come."""
        head = await self._receive_head()
        if head is None:
            return None
        declared = dict(head.headers).get(b"content-length", b"0")
        if int(declared) > self._limits.body_bytes:
            raise MalformedMessage(self._too_large, status=413)
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        return Request(
            method=head.method.decode(),
            target=head.target.decode(),
            headers=tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers),
            body=await self._receive_body(),
        )

    @property
    def _too_large(self) -> str:
        return f"the request's body is larger than {self._limits.body_bytes} bytes"

    async def _receive_head(self) -> h11.Request | None:
        event = self._next_event()
        if event is h11.NEED_DATA:
            with trio.move_on_after(self._limits.idle_seconds):
                await self._receive_bytes()
                event = self._next_event()
            if event is h11.NEED_DATA:
                event = await self._finish_head()
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return None
        if not isinstance(event, h11.Request):
            raise MalformedMessage("expected a request")
        return event

    async def _finish_head(self) -> Any:
        if self._http.trailing_data == (b"", False):
            return h11.NEED_DATA  # Idle for too long.
        with trio.move_on_after(self._limits.head_seconds):
            while (event := self._next_event()) is h11.NEED_DATA:
                await self._receive_bytes()
            return event
        raise MalformedMessage("the request's head did not arrive in time", status=408)

    async def _receive_body(self) -> bytes:
        body = bytearray()
        while True:
            event = self._next_event()
            match event:
                case h11.Data():
                    body += event.data
                    if len(body) > self._limits.body_bytes:
                        raise MalformedMessage(self._too_large, status=413)
                case h11.EndOfMessage():
                    return bytes(body)
                case h11.NEED_DATA:
                    with trio.move_on_after(self._limits.body_seconds) as patience:
                        await self._receive_bytes()
                    if patience.cancelled_caught:
                        raise MalformedMessage("the request's body did not arrive in time", status=408)
                case _:
                    raise MalformedMessage("the request ended within its body")

    def _next_event(self) -> Any:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise MalformedMessage(f"malformed request: {error}", status=error.error_status_hint) from None

    async def _receive_bytes(self) -> None:
        data = await self._stream.receive_some(_CHUNK)
        self._http.receive_data(bytes(data))

    async def _refuse(self, error: MalformedMessage) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        await self._send_whole(error_response(error.status, error.message), close=True)
        # A client that is still sending would lose the answer to a reset if we closed at once.
        await self._stream.send_eof()
        with trio.move_on_after(_LINGER_SECONDS):
            while await self._stream.receive_some(_CHUNK):
                pass

    async def _serve(self, request: Request) -> bool:
        """Answer; False when the connection cannot be used any more."""
        response: Response | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_hang_up, nursery.cancel_scope)
            response = await self._answer(request)
            nursery.cancel_scope.cancel()
        if response is None:
            return False
        match response.body:
            case bytes():
                await self._send_whole(response, with_body=request.method != "HEAD")
                return True
            case Hijacked() as takeover:
                await self._hand_over(response, takeover)
                return False
            case _:
                return True

    async def _watch_for_hang_up(self, work: trio.CancelScope) -> None:
        if self._http.trailing_data[0]:
            return  # The next request is here already.
        try:
            data = bytes(await self._stream.receive_some(_CHUNK))
        except trio.BrokenResourceError:
            data = b""
        self._http.receive_data(data)
        if not data:
            work.cancel()

    async def _answer(self, request: Request) -> Response | None:
        """Let the handler work, and send what it streams; None when the client cannot be answered (any more)."""
        try:
            response = await self._handler(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return error_response(500, "internal error: see the daemon's log")
        if isinstance(response.body, Streamed):
            try:
                await self._send_stream(response, response.body, request)
            except trio.BrokenResourceError:
                return None
            except Exception:
                # The head has left: only a connection that ends too early can tell the client.
                logger.exception("%s %s failed while it was answered", request.method, request.path)
                return None
        return response

    async def _send_whole(self, response: Response, *, with_body: bool = True, close: bool = False) -> None:
        assert isinstance(response.body, bytes)
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        if close:
            headers.append(("Connection", "close"))
        events: list[h11.Event] = [h11.Response(status_code=response.status, headers=headers)]
        if with_body and response.body:
            events.append(h11.Data(data=response.body))
        events.append(h11.EndOfMessage())
        # Bodies may be long: they are copied once, and not by h11.
        pieces = [piece for event in events for piece in self._http.send_with_data_passthrough(event) or ()]
        await self._stream.send_all(b"".join(pieces))

    async def _send_stream(self, response: Response, body: Streamed, request: Request) -> None:
        await self._send(h11.Response(status_code=response.status, headers=list(response.headers)))
        if request.method != "HEAD":

            async def send(data: bytes) -> None:
                if data:
                    await self._send(h11.Data(data=data))

            await body.write(send)
        await self._send(h11.EndOfMessage())

    async def _hand_over(self, response: Response, body: Hijacked) -> None:
        if self._http.their_state in (h11.DONE, h11.MUST_CLOSE):
            await self._send_whole(error_response(400, "this call needs Connection: Upgrade"), close=True)
            return
        await self._send(h11.InformationalResponse(status_code=101, headers=list(response.headers)))
        await body.run(self._stream, self._http.trailing_data[0])

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)
