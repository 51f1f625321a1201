"""The client against the engine over a socket: arguments arrive, answers are typed, refusals are `ApiError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
import trio

from raftswarm.api.swarm import InitJson, JoinJson
from raftswarm.client import ApiError, EngineClient
from raftswarm.http.addresses import UnixAddress
from raftswarm.http.listeners import open_listener
from raftswarm.http.messages import Request, Response, error_response
from raftswarm.http.server import serve_http
from raftswarm.objects.specs import NodeSpec, ServiceSpec, SwarmSpec

NODE = b"""{"ID":"n1","Version":{"Index":9},"CreatedAt":"2026-11-21T07:39:33Z","UpdatedAt":"2026-11-21T07:39:33Z",
"Spec":{"Labels":{},"Role":"manager","Availability":"active"},"Description":{"Hostname":"docker1","Platform":{},
"Resources":{},"Engine":{},"TLSInfo":{}},"Status":{"State":"ready","Addr":"127.0.0.1"},
"ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"127.0.0.1:2377"}}"""


class Server:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer = Response()

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer

    @property
    def last(self) -> Request:
        return self.requests[-1]

    @property
    def parameters(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(self.last.target.partition("?")[2]).items()}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def client(server: Server, tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[EngineClient]:
    address = UnixAddress(str(tmp_path / "api.sock"))
    async with open_listener(address) as listener:
        nursery.start_soon(serve_http, server.handle, [listener])
        async with EngineClient(str(address)) as engine_client:
            yield engine_client


async def test_nodes_come_back_typed(server: Server, client: EngineClient) -> None:
    server.answer = Response(body=b"[" + NODE + b"]")

    [node] = await client.nodes({"role": ["manager"]})

    assert (node.id, node.version.index, node.hostname, node.spec) == ("n1", 9, "docker1", NodeSpec(role="manager"))
    assert node.manager_status is not None
    assert node.manager_status.leader
    assert server.last.path == "/v1.47/nodes"
    assert server.parameters == {"filters": '{"role":{"manager":true}}'}


async def test_a_refusal_is_an_error_with_status_and_words(server: Server, client: EngineClient) -> None:
    server.answer = error_response(404, "service web not found")

    with pytest.raises(ApiError) as refusal:
        await client.service("web")

    assert (refusal.value.status, str(refusal.value)) == (404, "service web not found")


@pytest.mark.parametrize("body", [b"not json", b'{"ID":7}'])
async def test_an_answer_that_makes_no_sense_is_an_error(body: bytes, server: Server, client: EngineClient) -> None:
    server.answer = Response(body=body)

    with pytest.raises(ApiError, match="cannot be understood"):
        await client.node("n1")


async def test_a_refusal_that_is_not_json_is_passed_on(server: Server, client: EngineClient) -> None:
    server.answer = Response(status=502, body=b"bad gateway\n")

    with pytest.raises(ApiError, match=r"^bad gateway$"):
        await client.info()


async def test_a_service_is_created_with_its_spec(server: Server, client: EngineClient) -> None:
    server.answer = Response(status=201, body=b'{"ID":"s1"}')

    assert await client.create_service(ServiceSpec(name="web")) == "s1"
    assert msgspec.json.decode(server.last.body, type=ServiceSpec) == ServiceSpec(name="web")
    assert server.last.header("content-type") == "application/json"


async def test_references_are_quoted(server: Server, client: EngineClient) -> None:
    await client.remove_service("a/b?c")

    assert (server.last.method, server.last.target) == ("DELETE", "/v1.47/services/a%2Fb%3Fc")


Call = Callable[[EngineClient], Awaitable[object]]


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (lambda client: client.swarm_join(JoinJson(join_token="t")), "/swarm/join"),
        (lambda client: client.swarm_leave(), "/swarm/leave"),
        (lambda client: client.swarm_leave(force=True), "/swarm/leave?force=1"),
        (lambda client: client.swarm_unlock("k"), "/swarm/unlock"),
        (
            lambda client: client.swarm_update(7, SwarmSpec(), rotate_worker_token=True),
            "/swarm/update?version=7&rotateWorkerToken=true&rotateManagerToken=false&rotateManagerUnlockKey=false",
        ),
        (lambda client: client.update_node("n", 3, NodeSpec()), "/nodes/n/update?version=3"),
        (lambda client: client.update_service("s", 3, ServiceSpec()), "/services/s/update?version=3"),
        (
            lambda client: client.update_service("s", 3, ServiceSpec(), rollback=True),
            "/services/s/update?version=3&rollback=previous",
        ),
    ],
)
async def test_what_changes_something_is_posted(call: Call, target: str, server: Server, client: EngineClient) -> None:
    await call(client)

    assert (server.last.method, server.last.target) == ("POST", f"/v1.47{target}")


async def test_init_brings_the_nodes_id(server: Server, client: EngineClient) -> None:
    server.answer = Response(body=b'"n1"\n')

    assert await client.swarm_init(InitJson(auto_lock_managers=True)) == "n1"
    assert msgspec.json.decode(server.last.body) == {"AutoLockManagers": True}


async def test_ping_tells_what_the_node_is(server: Server, client: EngineClient) -> None:
    server.answer = Response(headers=(("Api-Version", "1.47"), ("Swarm", "locked")), body=b"OK")

    ping = await client.ping()

    assert (ping.api_version, ping.swarm) == ("1.47", "locked")
    assert server.last.target == "/_ping"
