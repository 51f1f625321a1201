"""What other nodes ask of this one over its links; leader's business goes to the leader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from raftswarm.ca import Identity
from raftswarm.errors import RequestRefused
from raftswarm.manager.control.requests import decode_request, encode_answer
from raftswarm.node.manager_role import ManagerRole
from raftswarm.wire.requests import (
    AnyAnswer,
    AnyRequest,
    AskUnlockKey,
    BeatHeart,
    Control,
    Controlled,
    GetAssignments,
    IssueCertificate,
    JoinMembers,
    KeepUnlockCredential,
    OpenSession,
    ReportStatus,
)
from raftswarm.world.slices import run_sliced


class CallService:
    """The `transport.calls.Handler` of a manager."""

    def __init__(self, manager: ManagerRole) -> None:
        self._manager = manager

    async def answer(  # noqa: PLR0911 - a table
        self, caller: Identity | None, remote_address: str, request: AnyRequest
    ) -> AnyAnswer:
        """Serve a request that has one answer."""
        manager = self._manager
        match request:
            case Control():
                answer = await manager.requests.answer_here(decode_request(request.body))
                return Controlled(body=await run_sliced(encode_answer(answer)))
            case IssueCertificate():
                return await self._issue(caller, request)
            case AskUnlockKey():
                manager.requests.require_leading()
                return await manager.peer_unlocks.give(remote_address, request)
            case KeepUnlockCredential() if caller is not None:
                manager.requests.require_leading()
                return await manager.peer_unlocks.keep(caller, remote_address, request)
            case JoinMembers() if caller is not None:
                return await manager.join_member(caller, request)
            case BeatHeart() if caller is not None:
                manager.requests.require_leading()
                return manager.dispatcher.beat_heart(caller.node_id, request)
            case ReportStatus() if caller is not None:
                manager.requests.require_leading()
                return await manager.dispatcher.report_status(caller.node_id, request)
            case _:
                raise RequestRefused(f"a manager does not serve {type(request).__name__}", code="Unimplemented")

    @asynccontextmanager
    async def stream(
        self, caller: Identity, remote_address: str, request: AnyRequest
    ) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        """Serve a session or its assignments."""
        self._manager.requests.require_leading()
        dispatcher = self._manager.dispatcher
        match request:
            case OpenSession():
                async with dispatcher.open_session(caller.node_id, remote_address, request) as messages:
                    yield messages
            case GetAssignments():
                async with dispatcher.get_assignments(caller.node_id, request) as assignments:
                    yield assignments
            case _:
                raise RequestRefused(f"{type(request).__name__} is not answered by a stream", code="Unimplemented")

    async def _issue(self, caller: Identity | None, request: IssueCertificate) -> AnyAnswer:
        manager = self._manager

        async def here() -> AnyAnswer:
            return await manager.certificates.issue(caller, request)

        if request.token and caller is None:
            # A joining node knows no other manager. A renewal is never passed on: the leader has to see who calls.
            return await manager.requests.by_leader(request, here)
        manager.requests.require_leading()
        return await here()
