"""The leader's end of every agent's sessions (SWARM 7): registration, heartbeats, reports, assignments.

`run` is one of the leader's loops; the rest is called for the agents' requests, and refused while `run` does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from random import Random
from typing import Final

import trio

from raftswarm.errors import NotLeader, RaftSwarmError
from raftswarm.manager.dispatcher.term import Surroundings, Term
from raftswarm.objects.records import Cluster, Node, Service, Task
from raftswarm.store.store import Store, Writes
from raftswarm.wire.requests import (
    Assignments,
    BeatHeart,
    Done,
    GetAssignments,
    HeartBeaten,
    ManagerPeer,
    OpenSession,
    ReportStatus,
    SessionMessage,
)
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock

GOODBYE_SECONDS: Final = 1.0


class Dispatcher:
    """Lives as long as its manager; serves while that leads."""

    def __init__(
        self,
        store: Store,
        writes: Writes,
        *,
        node_id: str,
        managers: Callable[[], Sequence[ManagerPeer]],
        entropy: Entropy,
        chance: Random,
        wall_clock: WallClock,
        epoch: int = 0,
    ) -> None:
        self._surroundings = Surroundings(
            store=store,
            writes=writes,
            node_id=node_id,
            managers=managers,
            entropy=entropy,
            chance=chance,
            wall_clock=wall_clock,
            epoch=epoch,
        )
        self._term: Term | None = None

    async def run(self) -> None:
        """Serve agents until cancelled."""
        term = Term(self._surroundings)
        with self._surroundings.store.watch(Task, Node, Service, Cluster) as watch:
            await term.begin()
            self._term = term
            try:
                await term.serve(watch)
            finally:
                self._term = None
                term.close()
                with trio.move_on_after(GOODBYE_SECONDS, shield=True), suppress(RaftSwarmError):
                    await term.say_goodbye()

    @asynccontextmanager
    async def open_session(
        self, node_id: str, remote_address: str, request: OpenSession
    ) -> AsyncIterator[AsyncIterator[SessionMessage]]:
        """Register a node's agent; messages come at once and whenever one of their parts changes.

        Raises:
            RequestRefused: NotFound for an unknown node, Unavailable for one that registers too often; from the
                stream: InvalidArgument when another session took its place, Aborted when leadership is lost.
            NotLeader: while this manager does not lead.
        """
        term = self._require_term()
        session = await term.register(node_id, remote_address, request)
        yield term.messages(session)

    def beat_heart(self, node_id: str, request: BeatHeart) -> HeartBeaten:
        """Note that an agent lives."""
        term = self._require_term()
        session = term.require_session(node_id, request.session_id)
        return HeartBeaten(period_seconds=term.expect_heartbeat(session))

    @asynccontextmanager
    async def get_assignments(self, node_id: str, request: GetAssignments) -> AsyncIterator[AsyncIterator[Assignments]]:
        """Tell an agent what to run: first everything, then the differences."""
        term = self._require_term()
        with closing(term.assignments(term.require_session(node_id, request.session_id))) as messages:
            yield messages

    async def report_status(self, node_id: str, request: ReportStatus) -> Done:
        """Take in what an agent observed. It is written a little later; the agent reports all of it to a new leader."""
        term = self._require_term()
        term.require_session(node_id, request.session_id)
        await term.report(node_id, request.statuses)
        return Done()

    def _require_term(self) -> Term:
        if self._term is None:
            raise NotLeader("this manager does not lead, or not yet")
        return self._term
