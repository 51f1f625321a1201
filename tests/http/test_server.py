"""One connection of the HTTP server: keep-alive, streams, hijack, limits, and clients that misbehave or leave."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from raftswarm.http.messages import Hijacked, Request, Response, Send, Streamed, json_response
from raftswarm.http.server import ServerLimits, serve_connection

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
Handler = Callable[[Request], Awaitable[Response]]


async def echo(request: Request) -> Response:
    return json_response({"method": request.method, "path": request.path, "body": request.body.decode()})


async def connect(nursery: trio.Nursery, handler: Handler, limits: ServerLimits | None = None) -> MemoryStream:
    client, server = trio.testing.memory_stream_pair()

    async def serve() -> None:
        await serve_connection(handler, server, limits=limits or ServerLimits())

    nursery.start_soon(serve)
    return client


async def read_response(client: MemoryStream) -> tuple[int, str, bytes]:
    """Read one response with a Content-Length: status, head, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await client.receive_some(65536) or pytest.fail(f"the connection ended after {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode().lower()
    length = next((int(line[15:]) for line in text.splitlines() if line.startswith("content-length:")), 0)
    while len(body) < length:
        body += await client.receive_some(65536) or pytest.fail("the body ended early")
    return int(head.split()[1]), text, body


async def read_to_the_end(client: MemoryStream) -> bytes:
    return b"".join([piece async for piece in client])


async def test_requests_follow_each_other_on_one_connection(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    for number in range(3):
        await client.send_all(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" % number)
        status, _, body = await read_response(client)
        assert (status, json.loads(body)) == (200, {"method": "POST", "path": f"/{number}", "body": "hi"})


async def test_requests_sent_ahead_are_answered_in_order(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    await client.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answers = await read_to_the_end(client)

    assert answers.index(b'"/a"') < answers.index(b'"/b"')


async def test_a_request_may_arrive_byte_by_byte(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    for byte in b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n":
        await client.send_all(bytes([byte]))
        await trio.testing.wait_all_tasks_blocked()

    assert json.loads((await read_response(client))[2])["body"] == "hi"


async def test_head_is_answered_without_a_body(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    await client.send_all(
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    answers = await read_to_the_end(client)

    head, _, rest = answers.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert rest.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBroken Header: y\r\n\r\n",
    ],
)
async def test_nonsense_is_refused_with_400_and_the_connection_closed(nonsense: bytes, nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    await client.send_all(nonsense)
    answer = await read_to_the_end(client)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"].startswith("malformed request: ")


async def test_an_endless_head_is_refused(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo, ServerLimits(head_bytes=1000))

    await client.send_all(b"GET / HTTP/1.1\r\nX: " + b"x" * 2000)

    assert (await read_response(client))[0] == 431


async def test_a_body_above_the_limit_is_refused_before_it_is_read(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo, ServerLimits(body_bytes=10))

    await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")

    status, _, body = await read_response(client)
    assert (status, json.loads(body)) == (413, {"message": "the request's body is larger than 10 bytes"})


async def test_a_chunked_body_above_the_limit_is_refused(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo, ServerLimits(body_bytes=10))

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send_all(head + b"8\r\n12345678\r\n8\r\n12345678\r\n")

    assert (await read_response(client))[0] == 413


async def test_a_client_that_dawdles_over_its_head_is_sent_away(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(nursery, echo, ServerLimits(head_seconds=30))

    await client.send_all(b"GET / HT")
    status, _, _ = await read_response(client)

    assert status == 408


async def test_an_idle_connection_is_closed_without_a_word(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client = await connect(nursery, echo, ServerLimits(idle_seconds=300))

    assert await read_to_the_end(client) == b""
    assert trio.current_time() == pytest.approx(300)


async def test_expect_100_continue_is_granted(nursery: trio.Nursery) -> None:
    client = await connect(nursery, echo)

    await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.receive_some(100)).startswith(b"HTTP/1.1 100 ")
    await client.send_all(b"hi")

    assert (await read_response(client))[0] == 200


async def test_a_handler_that_fails_is_answered_with_500_and_the_connection_lives(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_once(request: Request) -> Response:
        if request.path == "/fail":
            raise RuntimeError("a bug")
        return Response()

    client = await connect(nursery, fail_once)

    await client.send_all(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
    status, _, body = await read_response(client)
    await client.send_all(b"GET /fine HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (status, json.loads(body)) == (500, {"message": "internal error: see the daemon's log"})
    assert "a bug" in caplog.text
    assert (await read_response(client))[0] == 200


async def test_a_client_that_hangs_up_cancels_what_nobody_waits_for(nursery: trio.Nursery) -> None:
    cancelled = trio.Event()

    async def wait(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    client = await connect(nursery, wait)

    await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    assert not cancelled.is_set()
    await client.aclose()

    with trio.fail_after(5):
        await cancelled.wait()


async def stream_two_pieces(request: Request) -> Response:
    async def write(send: Send) -> None:
        await send(b"one")
        await send(b"two")

    return Response(body=Streamed(write))


async def test_a_stream_is_sent_piece_by_piece_and_the_connection_lives(nursery: trio.Nursery) -> None:
    client = await connect(nursery, stream_two_pieces)

    await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answers = await read_to_the_end(client)

    assert answers.count(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") == 2


async def test_a_stream_that_fails_ends_the_connection_without_an_end_of_the_body(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_off(request: Request) -> Response:
        async def write(send: Send) -> None:
            await send(b"one")
            raise RuntimeError("a bug")

        return Response(body=Streamed(write))

    client = await connect(nursery, break_off)
    await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (await read_to_the_end(client)).endswith(b"3\r\none\r\n")
    assert "a bug" in caplog.text


async def test_a_stream_is_cancelled_when_its_reader_leaves(nursery: trio.Nursery) -> None:
    cancelled = trio.Event()

    async def follow(request: Request) -> Response:
        async def write(send: Send) -> None:
            await send(b"one")
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        return Response(body=Streamed(write))

    client = await connect(nursery, follow)
    await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    heard = b""
    while b"one" not in heard:
        heard += await client.receive_some(1000)
    await client.aclose()

    with trio.fail_after(5):
        await cancelled.wait()


async def shout(request: Request) -> Response:
    async def run(stream: trio.abc.HalfCloseableStream, leftover: bytes) -> None:
        heard = leftover + await stream.receive_some(100)
        await stream.send_all(heard.upper())

    return Response(body=Hijacked(run), headers=(("Connection", "Upgrade"), ("Upgrade", "tcp")))


async def test_an_upgraded_connection_carries_raw_bytes_both_ways(nursery: trio.Nursery) -> None:
    client = await connect(nursery, shout)

    await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    assert (await client.receive_some(1000)).startswith(b"HTTP/1.1 101 ")
    await client.send_all(b"hello")

    assert await read_to_the_end(client) == b"HELLO"


async def test_a_hijack_that_the_client_did_not_ask_for_is_refused(nursery: trio.Nursery) -> None:
    client = await connect(nursery, shout)

    await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (await read_response(client))[0] == 400
