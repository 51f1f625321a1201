"""Client and server over real sockets: connections are kept, dead ones noticed, errors named."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from raftswarm.errors import ConnectionRefused, LinkClosed
from raftswarm.http.addresses import Address, TcpAddress, UnixAddress
from raftswarm.http.client import HttpClient
from raftswarm.http.listeners import bound_address, open_listener
from raftswarm.http.messages import MalformedMessage, Request, Response, Send, Streamed
from raftswarm.http.server import serve_http


async def answer(request: Request) -> Response:
    if request.path == "/stream":

        async def write(send: Send) -> None:
            for piece in (b"one", b"two"):
                await send(piece)

        return Response(body=Streamed(write))
    return Response(status=201, body=request.method.encode() + b" " + request.body, headers=(("X-Path", request.path),))


@pytest.fixture
async def address(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Address]:
    where = UnixAddress(str(tmp_path / "api.sock"))
    async with open_listener(where) as listener:
        nursery.start_soon(serve_http, answer, [listener])
        yield where


async def test_a_call_brings_status_headers_and_body(address: Address) -> None:
    client = HttpClient(address)

    async with client.call("POST", "/x", body=b"hi") as reply:
        assert (reply.status, reply.header("x-path"), await reply.read()) == (201, "/x", b"POST hi")
    await client.aclose()


async def test_a_connection_is_used_again_after_a_body_was_read(address: Address) -> None:
    client = HttpClient(address)
    for target in ("/a", "/stream", "/b"):
        async with client.call("GET", target) as reply:
            await reply.read()
        assert len(client._idle) == 1
    await client.aclose()


async def test_a_connection_whose_body_was_not_read_is_dropped(address: Address) -> None:
    client = HttpClient(address)

    async with client.call("GET", "/stream") as reply:
        assert reply.status == 200

    assert client._idle == []


async def test_a_stream_arrives_in_pieces(address: Address) -> None:
    client = HttpClient(address)

    async with client.call("GET", "/stream") as reply:
        assert b"".join([piece async for piece in reply.pieces()]) == b"onetwo"
    await client.aclose()


async def test_calls_run_side_by_side(address: Address, nursery: trio.Nursery) -> None:
    client = HttpClient(address)
    answers: list[bytes] = []

    async def ask(number: int) -> None:
        async with client.call("POST", "/x", body=b"%d" % number) as reply:
            answers.append(await reply.read())

    async with trio.open_nursery() as asking:
        for number in range(20):
            asking.start_soon(ask, number)

    assert sorted(answers) == sorted(b"POST %d" % number for number in range(20))
    await client.aclose()


async def test_a_kept_connection_that_the_server_closed_is_replaced(tmp_path: Path) -> None:
    where = UnixAddress(str(tmp_path / "api.sock"))
    client = HttpClient(where)
    for _ in range(2):
        async with open_listener(where) as listener, trio.open_nursery() as serving:
            serving.start_soon(serve_http, answer, [listener])
            async with client.call("POST", "/x") as reply:
                assert reply.status == 201
                await reply.read()
            serving.cancel_scope.cancel()
    await client.aclose()


async def serve_bytes(nursery: trio.Nursery, path: Path, data: bytes) -> UnixAddress:
    where = UnixAddress(str(path))

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(data)

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        async with open_listener(where) as listener:
            task_status.started()
            await trio.serve_listeners(serve, [listener])

    await nursery.start(listen)
    return where


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", LinkClosed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", LinkClosed),
        (b"SSH-2.0-OpenSSH\r\n\r\n", MalformedMessage),
    ],
)
async def test_a_server_that_breaks_off_or_speaks_something_else_is_an_error(
    sent: bytes, error: type[Exception], tmp_path: Path, nursery: trio.Nursery
) -> None:
    client = HttpClient(await serve_bytes(nursery, tmp_path / "s", sent))

    with pytest.raises(error):
        async with client.call("GET", "/") as reply:
            await reply.read()


async def test_where_nothing_listens_the_connection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefused, match="nothing listens on unix://"):
        async with HttpClient(UnixAddress(str(tmp_path / "none"))).call("GET", "/"):
            pass


async def test_tls_needs_to_fit_on_both_sides(tmp_path: Path, nursery: trio.Nursery) -> None:
    server_tls, client_tls = tls_contexts(tmp_path)
    async with open_listener(TcpAddress("127.0.0.1", 0), tls=server_tls) as listener:
        nursery.start_soon(serve_http, answer, [listener])

        client = HttpClient(bound_address(listener), tls=client_tls)
        async with client.call("GET", "/x") as reply:
            assert await reply.read() == b"GET "
        await client.aclose()

        with pytest.raises((LinkClosed, MalformedMessage)):
            async with HttpClient(bound_address(listener)).call("GET", "/x"):
                pass
        nursery.cancel_scope.cancel()


def tls_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    path = directory / "cert.pem"
    path.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=pem.decode())
