"""Requests and responses as plain data; bodies that stream, and connections that are taken over, as functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec
import trio

from raftswarm.errors import RaftSwarmError

Headers = tuple[tuple[str, str], ...]
Send = Callable[[bytes], Awaitable[None]]
"""Sends a piece of a body; waits for the client to take it."""


@attrs.frozen(slots=False)
class MalformedMessage(RaftSwarmError):
    """The other side does not speak HTTP, or not within the limits."""

    status: int = 400


@attrs.frozen(kw_only=True)
class Request:
    """A complete request: its body has been read."""

    method: str
    target: str
    headers: Headers = ()
    """Names in lower case."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """The parameters; of a repeated one the first counts, as in Go's ``FormValue``."""
        pairs = parse_qsl(self.target.partition("?")[2], keep_blank_values=True)
        return dict(reversed(pairs))

    def header(self, name: str) -> str:
        """The value of a header, given in lower case; empty if it is absent."""
        return next((value for key, value in self.headers if key == name), "")


@attrs.frozen
class Streamed:
    """A body written piece by piece, chunked; cancelled when the client hangs up."""

    write: Callable[[Send], Awaitable[None]]


@attrs.frozen
class Hijacked:
    """A 101 answer: afterwards the connection carries raw bytes. `leftover` is what the client sent early."""

    run: Callable[[trio.abc.HalfCloseableStream, bytes], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Response:
    """An answer."""

    status: int = 200
    headers: Headers = ()
    body: bytes | Streamed | Hijacked = b""


encode_json: Final = msgspec.json.Encoder().encode


def json_response(value: Any, status: int = 200) -> Response:
    """Answer with a value as JSON, followed by a newline, as Go's encoder does."""
    return json_text_response(encode_json(value) + b"\n", status)


def json_text_response(text: bytes, status: int = 200) -> Response:
    """Answer with what is JSON already."""
    return Response(status=status, headers=(("Content-Type", "application/json"),), body=text)


def error_response(status: int, message: str) -> Response:
    """Answer with a refusal in Docker's shape."""
    return json_response({"message": message}, status)
