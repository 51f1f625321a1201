"""Endpoints about the swarm as a whole: init, join, leave, unlock; inspect and update."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.api import go_json
from raftswarm.api import swarm as json
from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import parse_availability
from raftswarm.engine.backend import Backend
from raftswarm.engine.local_state import refuse_leaving, require_locked, require_manager, require_outside
from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalState
from raftswarm.engine.refusals import NOT_IN_SWARM, with_code
from raftswarm.engine.router import Call, Route, route
from raftswarm.errors import RaftSwarmError
from raftswarm.http.messages import Response, Send, Streamed, json_response
from raftswarm.manager.control.requests import (
    Accepted,
    ClusterAnswer,
    GetCluster,
    GetStatus,
    GetUnlockKey,
    ListNodes,
    NodesAnswer,
    StatusAnswer,
    UnlockKeyAnswer,
    UpdateCluster,
)
from raftswarm.objects.specs import SwarmSpec
from raftswarm.storage.backup import SCRYPT_SALT_BYTES, BackupKey, SealedBy
from raftswarm.storage.sealing import KEY_BYTES

MIN_CERTIFICATE_EXPIRY: Final = 3600 * 1_000_000_000
_COUNT_SECONDS: Final = 2.0


@attrs.frozen
class SwarmEndpoints:
    """``/swarm`` and below."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("GET", "/swarm", self.inspect),
            route("GET", "/swarm/status", self.status),
            route("POST", "/swarm/init", self.init),
            route("POST", "/swarm/join", self.join),
            route("POST", "/swarm/rejoin", self.rejoin),
            route("POST", "/swarm/leave", self.leave),
            route("POST", "/swarm/update", self.update),
            route("GET", "/swarm/unlockkey", self.unlock_key),
            route("POST", "/swarm/unlock", self.unlock),
            route("POST", "/swarm/snapshot", self.snapshot),
        ]

    async def inspect(self, _call: Call) -> Response:
        """``GET /swarm``."""
        answer = await self._backend.ask(GetCluster(), ClusterAnswer)
        return json_response(json.show_swarm(answer.cluster))

    async def status(self, _call: Call) -> Response:
        """How does it stand? (Docker has no such call.)."""
        return json_response((await self._backend.ask(GetStatus(), StatusAnswer)).status)

    async def init(self, call: Call) -> Response:
        """Begin a swarm; answer with this node's id."""
        given = go_json.convert(call.json(), json.InitJson)
        options = InitOptions(
            listen_address=json.parse_listen_address(given.listen_addr),
            advertise_address=json.parse_advertise_address(given.advertise_addr),
            spec=_parse_first_spec(given),
            availability=parse_availability(given.availability or "active"),
            force_new_cluster=given.force_new_cluster,
            default_address_pool=tuple(given.default_addr_pool),
            subnet_size=given.subnet_size or 24,
            data_path_port=json.parse_data_path_port(given.data_path_port),
        )
        require_outside(self._backend.node.info(), force_new_cluster=given.force_new_cluster)
        return json_response(await self._backend.node.init(options))

    async def join(self, call: Call) -> Response:
        """Join a swarm; the node itself gives up waiting after 20 s."""
        given = go_json.convert(call.json(), json.JoinJson)
        if not given.remote_addrs:
            raise ApiError("at least 1 RemoteAddr is required to join")
        options = JoinOptions(
            remote_addresses=tuple(given.remote_addrs),
            join_token=given.join_token,
            listen_address=json.parse_listen_address(given.listen_addr),
            advertise_address=json.parse_advertise_address(given.advertise_addr),
            availability=parse_availability(given.availability or "active"),
        )
        require_outside(self._backend.node.info())
        await self._backend.node.join(options)
        return Response()

    async def rejoin(self, call: Call) -> Response:
        """Find the managers again, elsewhere: our own call, for workers that outlive all managers they knew."""
        given = go_json.convert(call.json(), json.RejoinJson)
        if not given.remote_addrs:
            raise ApiError("at least 1 RemoteAddr is required to rejoin")
        await self._backend.node.rejoin(given.remote_addrs)
        return Response()

    async def leave(self, call: Call) -> Response:
        """Leave; a manager only by force, because it takes a vote away."""
        node = self._backend.node
        info = node.info()
        force = call.flag("force")
        if info.state is LocalState.INACTIVE:
            raise ApiError(NOT_IN_SWARM, status=503)
        if not force and (info.is_manager or info.state is LocalState.LOCKED):
            reachable, unreachable = await self._count_managers()
            raise refuse_leaving(info, reachable, unreachable)
        await node.leave(force=force)
        return Response()

    async def _count_managers(self) -> tuple[int, int]:
        """How many managers are reachable, and how many not; (0, 0) if the swarm cannot tell in time."""
        with trio.move_on_after(_COUNT_SECONDS):
            try:
                answer = await self._backend.ask(ListNodes(filters={"role": ["manager"]}), NodesAnswer)
            except RaftSwarmError:
                return 0, 0
            statuses = [view.manager_status for view in answer.nodes if view.manager_status is not None]
            reachable = sum(status.reachable for status in statuses)
            return reachable, len(statuses) - reachable
        return 0, 0

    async def update(self, call: Call) -> Response:
        """Replace the spec, or rotate secrets, or both. (`unlockByPeers` is our own: Docker knows nothing of it.)."""
        version = call.version("swarm")
        spec = json.parse_swarm_spec(go_json.convert(call.json(), SwarmSpec))
        request = UpdateCluster(
            version=version,
            spec=spec,
            rotate_worker_token=call.flag("rotateWorkerToken"),
            rotate_manager_token=call.flag("rotateManagerToken"),
            rotate_unlock_key=call.flag("rotateManagerUnlockKey"),
            unlock_by_peers=call.flag("unlockByPeers") if "unlockByPeers" in call.query else None,
        )
        await self._backend.ask(request, Accepted)
        return Response()

    async def unlock_key(self, _call: Call) -> Response:
        """Tell the key; empty while autolock is off."""
        answer = await self._backend.ask(GetUnlockKey(), UnlockKeyAnswer)
        return json_response(json.UnlockKeyJson(unlock_key=answer.unlock_key))

    async def unlock(self, call: Call) -> Response:
        """Unlock this manager."""
        given = go_json.convert(call.json(), json.UnlockKeyJson)
        require_locked(self._backend.node.info())
        await self._backend.node.unlock(json.parse_unlock_key(given.unlock_key))
        return Response()

    async def snapshot(self, call: Call) -> Response:
        """Send a sealed backup of the swarm: our own call, of which Docker knows nothing."""
        given = go_json.convert(call.json(), json.SnapshotJson)
        require_manager(self._backend.node.info())
        pieces = await self._backend.node.backup(_parse_backup_key(given))

        async def write(send: Send) -> None:
            for piece in pieces:
                await send(piece)

        return Response(headers=(("Content-Type", "application/octet-stream"),), body=Streamed(write))


def _parse_backup_key(given: json.SnapshotJson) -> BackupKey | None:
    if not given.key:
        return None
    try:
        key, salt = (base64.b64decode(text, validate=True) for text in (given.key, given.salt))
    except (binascii.Error, ValueError):
        key, salt = b"", b""
    if len(key) != KEY_BYTES or len(salt) != SCRYPT_SALT_BYTES:
        raise ApiError("a backup's key has 32 bytes and its salt 16, both in base64")
    return BackupKey(SealedBy.PASSPHRASE, key, salt)


def _parse_first_spec(given: json.InitJson) -> SwarmSpec:
    spec = json.parse_swarm_spec(given.spec)
    if spec.ca_config.node_cert_expiry < MIN_CERTIFICATE_EXPIRY:
        refusal = with_code("InvalidArgument", "minimum certificate expiry time is: 1h0m0s")
        raise ApiError(f"error updating cluster settings: {refusal}", status=500)
    locks = given.auto_lock_managers or spec.encryption_config.auto_lock_managers
    return replace(spec, encryption_config=replace(spec.encryption_config, auto_lock_managers=locks))
