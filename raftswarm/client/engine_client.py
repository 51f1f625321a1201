"""The calls of the Engine API as methods: typed arguments in, typed answers out, `ApiError` for every refusal.

An update sends back the version it was made from; whoever was first wins, and the other gets an `ApiError` in the
words "update out of sequence": read again and retry.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import attrs
import msgspec

from raftswarm.api.errors import ApiError
from raftswarm.api.filters import Filters, write_filters
from raftswarm.api.nodes import NodeJson
from raftswarm.api.services import ServiceJson
from raftswarm.api.swarm import InitJson, JoinJson, RejoinJson, SnapshotJson, SwarmJson, UnlockKeyJson
from raftswarm.api.system import InfoJson, VersionInfoJson
from raftswarm.api.tasks import TaskJson
from raftswarm.http.addresses import Address, parse_address
from raftswarm.http.client import HttpClient
from raftswarm.objects.explanations import ServiceExplanation, TaskExplanation
from raftswarm.objects.specs import NodeSpec, ServiceSpec, SwarmSpec
from raftswarm.objects.swarm_status import SwarmStatus

API_VERSION: Final = "1.47"
_JSON: Final = (("Content-Type", "application/json"),)

T = TypeVar("T")


@attrs.frozen
class Ping:
    """What the headers of ``/_ping`` say."""

    api_version: str
    swarm: str
    """``active/manager``, ``active/worker``, ``inactive``, ``locked``, …"""


class _Created(msgspec.Struct, rename={"id": "ID"}):
    id: str


class _Refusal(msgspec.Struct):
    message: str


class EngineClient:
    """One engine. Calls may run side by side; close it with `aclose`, or use it as a context."""

    def __init__(self, address: Address | str, *, tls: ssl.SSLContext | None = None) -> None:
        """Remember where the engine is; nothing is opened yet."""
        parsed = parse_address(address, tls=tls is not None) if isinstance(address, str) else address
        self.address = parsed
        self._http = HttpClient(parsed, tls=tls)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        await self._http.aclose()

    async def request(self, method: str, path: str, body: Any = None, **parameters: str) -> bytes:
        """Call a path below the version; return the body of the answer as it came."""
        target = f"/v{API_VERSION}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        data = b"" if body is None else msgspec.json.encode(body)
        async with self._http.call(method, target, headers=_JSON if data else (), body=data) as reply:
            answer = await reply.read()
            if reply.status >= 400:
                raise ApiError(_read_refusal(answer, reply.status), status=reply.status)
            return answer

    async def _get(self, type_: type[T], path: str, **parameters: str) -> T:
        return _decode(await self.request("GET", path, **parameters), type_)

    async def ping(self) -> Ping:
        """Ask whether somebody is there, and who."""
        async with self._http.call("GET", "/_ping") as reply:
            await reply.read()
            if reply.status != 200:
                raise ApiError("ping was refused", status=reply.status)
            return Ping(api_version=reply.header("api-version"), swarm=reply.header("swarm"))

    async def version(self) -> VersionInfoJson:
        """Return who the engine is."""
        return await self._get(VersionInfoJson, "/version")

    async def info(self) -> InfoJson:
        """Return what the engine says about itself; answers in every state."""
        return await self._get(InfoJson, "/info")

    async def swarm_init(self, options: InitJson | None = None) -> str:
        """Begin a swarm; return the id of its first node."""
        return _decode(await self.request("POST", "/swarm/init", options or InitJson()), str)

    async def swarm_join(self, options: JoinJson) -> None:
        """Join a swarm."""
        await self.request("POST", "/swarm/join", options)

    async def swarm_rejoin(self, addresses: Sequence[str]) -> None:
        """Tell a worker where the managers of its swarm are now (raftswarm only)."""
        await self.request("POST", "/swarm/rejoin", RejoinJson(remote_addrs=list(addresses)))

    async def swarm_leave(self, *, force: bool = False) -> None:
        """Leave the swarm."""
        await self.request("POST", "/swarm/leave", **({"force": "1"} if force else {}))

    async def swarm_inspect(self) -> SwarmJson:
        """Return the swarm with its join tokens."""
        return await self._get(SwarmJson, "/swarm")

    async def swarm_update(
        self,
        version: int,
        spec: SwarmSpec,
        *,
        rotate_worker_token: bool = False,
        rotate_manager_token: bool = False,
        rotate_unlock_key: bool = False,
        unlock_by_peers: bool | None = None,
    ) -> None:
        """Replace the swarm's spec, rotate what is asked for, and say whether managers unlock each other."""
        policy = {} if unlock_by_peers is None else {"unlockByPeers": _flag(on=unlock_by_peers)}
        await self.request(
            "POST",
            "/swarm/update",
            spec,
            version=str(version),
            rotateWorkerToken=_flag(on=rotate_worker_token),
            rotateManagerToken=_flag(on=rotate_manager_token),
            rotateManagerUnlockKey=_flag(on=rotate_unlock_key),
            **policy,
        )

    async def swarm_unlock_key(self) -> str:
        """Return the unlock key; empty while autolock is off."""
        return (await self._get(UnlockKeyJson, "/swarm/unlockkey")).unlock_key

    async def swarm_unlock(self, key: str) -> None:
        """Unlock this manager."""
        await self.request("POST", "/swarm/unlock", UnlockKeyJson(unlock_key=key))

    async def swarm_snapshot(self, options: SnapshotJson, take: Callable[[bytes], object]) -> None:
        """Have a sealed backup of the swarm made, and give it to `take` piece by piece."""
        body = msgspec.json.encode(options)
        async with self._http.call("POST", f"/v{API_VERSION}/swarm/snapshot", headers=_JSON, body=body) as reply:
            if reply.status >= 400:
                raise ApiError(_read_refusal(await reply.read(), reply.status), status=reply.status)
            async for piece in reply.pieces():
                take(piece)

    async def nodes(self, filters: Filters | None = None) -> list[NodeJson]:
        """List nodes."""
        return await self._get(list[NodeJson], "/nodes", **_filters(filters))

    async def node(self, reference: str) -> NodeJson:
        """Return a node by id, name or prefix of its id."""
        return await self._get(NodeJson, f"/nodes/{_part(reference)}")

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        """Replace a node's spec."""
        await self.request("POST", f"/nodes/{_part(node_id)}/update", spec, version=str(version))

    async def remove_node(self, reference: str, *, force: bool = False) -> None:
        """Forget a node."""
        await self.request("DELETE", f"/nodes/{_part(reference)}", **({"force": "1"} if force else {}))

    async def services(self, filters: Filters | None = None, *, status: bool = False) -> list[ServiceJson]:
        """List services; with `status` also how many tasks they have."""
        parameters = _filters(filters) | ({"status": "true"} if status else {})
        return await self._get(list[ServiceJson], "/services", **parameters)

    async def service(self, reference: str, *, insert_defaults: bool = False) -> ServiceJson:
        """Return a service by id, name or prefix of its id."""
        defaults = _flag(on=insert_defaults)
        return await self._get(ServiceJson, f"/services/{_part(reference)}", insertDefaults=defaults)

    async def status(self) -> SwarmStatus:
        """Ask how the swarm stands (raftswarm only)."""
        return await self._get(SwarmStatus, "/swarm/status")

    async def explain_service(self, reference: str) -> ServiceExplanation:
        """Ask why a service is not as it should be (raftswarm only)."""
        return await self._get(ServiceExplanation, f"/services/{_part(reference)}/explain")

    async def explain_task(self, reference: str) -> TaskExplanation:
        """Ask why a task is where it is (raftswarm only)."""
        return await self._get(TaskExplanation, f"/tasks/{_part(reference)}/explain")

    async def create_service(self, spec: ServiceSpec) -> str:
        """Create a service; return its id."""
        return _decode(await self.request("POST", "/services/create", spec), _Created).id

    async def update_service(self, service_id: str, version: int, spec: ServiceSpec, *, rollback: bool = False) -> None:
        """Replace a service's spec, or with `rollback` go back to the one before."""
        parameters = {"version": str(version)} | ({"rollback": "previous"} if rollback else {})
        await self.request("POST", f"/services/{_part(service_id)}/update", spec, **parameters)

    async def remove_service(self, reference: str) -> None:
        """Remove a service and its tasks."""
        await self.request("DELETE", f"/services/{_part(reference)}")

    async def tasks(self, filters: Filters | None = None) -> list[TaskJson]:
        """List tasks."""
        return await self._get(list[TaskJson], "/tasks", **_filters(filters))

    async def task(self, reference: str) -> TaskJson:
        """Return a task by id or prefix of its id."""
        return await self._get(TaskJson, f"/tasks/{_part(reference)}")


def _part(reference: str) -> str:
    return quote(reference, safe="")


def _flag(*, on: bool) -> str:
    return "true" if on else "false"


def _filters(filters: Filters | None) -> dict[str, str]:
    return {"filters": write_filters(filters)} if filters else {}


def _decode(body: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as error:
        raise ApiError(f"the engine's answer cannot be understood: {error}", status=502) from None


def _read_refusal(body: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except msgspec.DecodeError:
        return body.decode("utf-8", errors="replace").strip() or f"the engine answered with status {status}"
