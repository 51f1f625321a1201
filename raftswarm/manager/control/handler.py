"""Answers control requests on the leader: one method per request, each a check and a transaction, or a read."""

from __future__ import annotations

from typing import assert_never

from raftswarm.errors import Conflict, Overloaded, PayloadTooLarge, RequestRefused
from raftswarm.manager.control.cluster import ClusterRequests
from raftswarm.manager.control.explaining import ExplainPlacement, Explanations
from raftswarm.manager.control.nodes import Membership, NodeRequests
from raftswarm.manager.control.refusals import invalid
from raftswarm.manager.control.requests import (
    AnyControlAnswer,
    AnyControlRequest,
    CreateService,
    ExplainService,
    ExplainTask,
    GetCluster,
    GetNode,
    GetService,
    GetStatus,
    GetTask,
    GetUnlockKey,
    ListNodes,
    ListServices,
    ListTasks,
    RemoveNode,
    RemoveService,
    UpdateCluster,
    UpdateNode,
    UpdateService,
)
from raftswarm.manager.control.services import ServiceRequests
from raftswarm.manager.control.status import show_status
from raftswarm.manager.control.tasks import TaskRequests
from raftswarm.store.store import Store, Writes
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import run_sliced


class ControlHandler:
    """What the leader does for users. Reads are as fresh as the store: the caller sees to linearizability."""

    def __init__(
        self,
        store: Store,
        writes: Writes,
        *,
        membership: Membership,
        explain_placement: ExplainPlacement,
        entropy: Entropy,
        wall_clock: WallClock,
    ) -> None:
        self._store = store
        self._membership = membership
        self._wall_clock = wall_clock
        self._cluster = ClusterRequests(store, writes, entropy, wall_clock)
        self._nodes = NodeRequests(store, writes, membership, wall_clock)
        self._services = ServiceRequests(store, writes, entropy, wall_clock)
        self._tasks = TaskRequests(store)
        self._explanations = Explanations(store, explain_placement)

    async def handle(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Answer a request.

        Raises:
            RequestRefused: with the words for the user.
            NotLeader: nothing happened.
            OutcomeUnknown: it may have happened.
        """
        try:
            return await self._answer(request)
        except PayloadTooLarge as error:
            raise invalid(f"the object is too large to be replicated: {error}") from error
        except Conflict as error:
            raise RequestRefused("too many changes at the same time; try again", code="Aborted") from error
        except Overloaded as error:
            raise RequestRefused(str(error), code="Unavailable") from error

    async def _answer(self, request: AnyControlRequest) -> AnyControlAnswer:  # noqa: C901, PLR0911, PLR0912 - a table
        match request:
            case GetCluster():
                return self._cluster.get(request)
            case UpdateCluster():
                return await self._cluster.update(request)
            case GetUnlockKey():
                return self._cluster.get_unlock_key(request)
            case GetStatus():
                return show_status(self._store, self._membership, self._wall_clock.now_ns(), request)
            case ListNodes():
                return self._nodes.list_all(request)
            case GetNode():
                return self._nodes.get(request)
            case UpdateNode():
                return await self._nodes.update(request)
            case RemoveNode():
                return await self._nodes.remove(request)
            case CreateService():
                return await self._services.create(request)
            case ListServices():
                return await run_sliced(self._services.list_all(request))
            case GetService():
                return self._services.get(request)
            case UpdateService():
                return await self._services.update(request)
            case RemoveService():
                return await self._services.remove(request)
            case ListTasks():
                return await run_sliced(self._tasks.list_all(request))
            case GetTask():
                return self._tasks.get(request)
            case ExplainTask():
                return await run_sliced(self._explanations.task(request))
            case ExplainService():
                return await run_sliced(self._explanations.service(request))
            case _:
                assert_never(request)
