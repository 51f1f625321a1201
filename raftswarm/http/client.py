"""The client's side of the same codec: connections to one address, kept open between calls."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import h11
import trio

from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError
from raftswarm.http.addresses import Address, UnixAddress
from raftswarm.http.messages import Headers, MalformedMessage

_CHUNK: Final = 65536
_IDLE_LIMIT: Final = 8
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


@attrs.define(eq=False)
class Reply:
    """An answer whose head has arrived."""

    status: int
    headers: Headers
    """Names in lower case."""
    _connection: _ClientConnection = attrs.field(alias="connection")

    def header(self, name: str) -> str:
        """The value of a header, given in lower case; empty if it is absent."""
        return next((value for key, value in self.headers if key == name), "")

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives."""
        while (piece := await self._connection.receive_piece()) is not None:
            yield piece


class HttpClient:
    """Calls to one address. Any number may be in flight, each on a connection of its own."""

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None = None, tls_name: str | None = None) -> None:
        """Remember where to connect; nothing is opened yet."""
        self.address = address
        self._tls = tls
        self._tls_name = tls_name
        self._idle: list[_ClientConnection] = []

    @asynccontextmanager
    async def call(
        self, method: str, target: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> AsyncIterator[Reply]:
        """Send a request; the reply is good until the context ends."""
        connection, reply = await self._start(method, target, headers, body)
        try:
            yield reply
        except BaseException:
            await trio.aclose_forcefully(connection.stream)
            raise
        if connection.reset_for_reuse() and len(self._idle) < _IDLE_LIMIT:
            self._idle.append(connection)
        else:
            await trio.aclose_forcefully(connection.stream)

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            await trio.aclose_forcefully(self._idle.pop().stream)

    async def _start(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[_ClientConnection, Reply]:
        kept = await self._take_idle()
        if kept is not None:
            try:
                return kept, await kept.start(method, target, headers, body)
            except LinkClosed:
                # The server closed it while we wrote. What only reads may be asked again.
                if method not in _SAFE_METHODS:
                    raise
        connection = _ClientConnection(await self._connect())
        return connection, await connection.start(method, target, headers, body)

    async def _take_idle(self) -> _ClientConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_something_to_read():
                return connection
            await trio.aclose_forcefully(connection.stream)  # End of file: the server closed it.
        return None

    async def _connect(self) -> trio.abc.Stream:
        try:
            if isinstance(self.address, UnixAddress):
                stream = await trio.open_unix_socket(self.address.path)
            else:
                stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ConnectionRefused(f"nothing listens on {self.address}: {error.strerror or error}") from None
        except OSError as error:
            raise LinkError(f"cannot connect to {self.address}: {error.strerror or error}") from None
        if self._tls is None:
            return stream
        name = self._tls_name or getattr(self.address, "host", "localhost")
        return trio.SSLStream(stream, self._tls, server_hostname=name, https_compatible=True)


class _ClientConnection:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)

    async def start(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """Send the request, return the head of the answer; LinkClosed when there is none. Closes on any failure."""
        try:
            return await self._start(method, target, headers, body)
        except BaseException:
            await trio.aclose_forcefully(self.stream)
            raise

    async def _start(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        all_headers = [("Host", "raftswarm"), *headers]
        if body or method == "POST":
            all_headers.append(("Content-Length", str(len(body))))
        events: list[h11.Event] = [h11.Request(method=method, target=target, headers=all_headers)]
        if body:
            events.append(h11.Data(data=body))
        events.append(h11.EndOfMessage())
        data = b"".join(self._http.send(event) or b"" for event in events)
        with contextlib.suppress(trio.BrokenResourceError):  # It may have answered before it hung up: 413, for one.
            await self.stream.send_all(data)
        while not isinstance(event := await self._next_event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise LinkClosed("the server closed the connection without an answer")
        return Reply(
            status=event.status_code,
            headers=tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers),
            connection=self,
        )

    async def receive_piece(self) -> bytes | None:
        """Return the next piece of the body; None at its end."""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _next_event(self) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if self._http.trailing_data[1]:
                    raise LinkClosed("the server closed the connection within its answer") from None
                raise MalformedMessage(f"the server does not speak HTTP: {error}") from None
            if event is not h11.NEED_DATA:
                return event
            try:
                data = bytes(await self.stream.receive_some(_CHUNK))
            except trio.BrokenResourceError:
                data = b""
            self._http.receive_data(data)

    def reset_for_reuse(self) -> bool:
        """Make ready for the next request; False when this connection is used up."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def has_something_to_read(self) -> bool:
        """Tell whether the server sent what nobody asked for: the end of the connection."""
        stream = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        if not isinstance(stream, trio.SocketStream):
            return False
        poller = select.poll()
        poller.register(stream.socket.fileno(), select.POLLIN)
        return bool(poller.poll(0))
