"""Whatever a client sends is answered or refused: bodies, filters, paths, and bytes that are no HTTP at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from raftswarm.api import go_json
from raftswarm.api.errors import ApiError
from raftswarm.api.filters import SERVICE_FILTERS, parse_filters
from raftswarm.api.services import parse_service_spec, show_service
from raftswarm.api.times import read_duration, read_time, write_duration, write_time
from raftswarm.http.messages import Request, Response
from raftswarm.http.server import ServerLimits, serve_connection
from raftswarm.objects.records import Service
from raftswarm.objects.specs import ServiceSpec

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(list("{}[]:,\"\\ \n-+.0123eEtruefalsn'x\x00é"))


def refusal_of(read: Callable[[], object]) -> ApiError | None:
    try:
        read()
    except ApiError as refusal:
        return refusal
    return None


@given(st.text(WORDS, max_size=30))
def test_a_body_is_refused_only_if_the_standard_library_refuses_it(text: str) -> None:
    refusal = refusal_of(lambda: go_json.decode(text.encode()))

    if refusal is not None and not refusal.message.startswith("invalid JSON: Number out of range"):
        with pytest.raises((ValueError, ZeroDivisionError)):
            json.loads(text, parse_constant=lambda _: 1 / 0)


@given(st.binary(max_size=50))
def test_filters_are_read_or_refused(data: bytes) -> None:
    refusal = refusal_of(lambda: parse_filters(data.decode("utf-8", errors="replace"), SERVICE_FILTERS))

    assert refusal is None or refusal.message


SPECS = st.fixed_dictionaries(
    {"TaskTemplate": st.fixed_dictionaries({"ContainerSpec": st.fixed_dictionaries({"Image": st.text(max_size=5)})})},
    optional={
        "Name": VALUES,
        "Labels": VALUES,
        "Mode": VALUES | st.fixed_dictionaries({"Replicated": VALUES}),
        "UpdateConfig": VALUES,
        "EndpointSpec": VALUES | st.fixed_dictionaries({"Ports": st.lists(VALUES, max_size=2)}),
    },
)


@given(SPECS)
def test_a_spec_is_refused_or_stored_as_it_is_shown(given_spec: dict[str, Any]) -> None:
    try:
        spec = parse_service_spec(go_json.decode(json.dumps(given_spec).encode()))
    except (ApiError, msgspec.ValidationError):
        return
    shown = msgspec.json.encode(show_service(Service(id="s", spec=spec)).spec)

    assert parse_service_spec(msgspec.json.decode(shown)) == spec
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=ServiceSpec) == spec


@given(st.integers(0, 2**63 - 1), st.integers(1, 4_000_000_000_000_000_000))
def test_what_is_written_is_read_back(duration_ns: int, time_ns: int) -> None:
    assert read_time(write_time(time_ns)) == time_ns
    if duration_ns < 2**53:  # Beyond, Go's notation of seconds has more digits than a float.
        assert read_duration(write_duration(duration_ns)) == duration_ns


HEAD = b"POST /x HTTP/1.1\r\nHost: h\r\n"
LINES = [
    HEAD,
    b"GET / HTTP/1.1\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
    b"\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]
PIECES = st.lists(st.sampled_from(LINES) | st.binary(max_size=20), max_size=8)


@settings(deadline=None)
@given(PIECES)
def test_a_connection_survives_any_bytes(pieces: list[bytes]) -> None:
    async def serve_once() -> None:
        client, server = trio.testing.memory_stream_pair()

        async def answer(request: Request) -> Response:
            return Response(body=request.body)

        async def send() -> None:
            for piece in pieces:
                try:
                    await client.send_all(piece)
                except trio.BrokenResourceError:
                    break
            await client.send_eof()

        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: serve_connection(answer, server, limits=ServerLimits()))
                nursery.start_soon(send)
                heard = b"".join([piece async for piece in client])
        assert not heard or heard.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in heard

    trio.run(serve_once, clock=trio.testing.MockClock(autojump_threshold=0))
