"""The dispatcher during one term of leadership: who is in touch, who is overdue, what goes out to whom.

One loop reads the changes of the store and rings the bells of the streams they concern, so a change costs the same
however many agents listen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Literal

import attrs
import msgspec
import trio

from raftswarm.errors import RaftSwarmError, RequestRefused
from raftswarm.manager.dispatcher.assignments import NodeAssignments
from raftswarm.manager.dispatcher.reports import BATCH_SECONDS, NodeNews, Reports, orphan
from raftswarm.manager.dispatcher.routes import changes_routes, find_routes
from raftswarm.manager.dispatcher.sessions import Session, Sessions, must_disconnect, not_registered
from raftswarm.manager.dispatcher.signals import Bell, Deadlines
from raftswarm.objects.records import Cluster, Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import holds_resources
from raftswarm.store.store import Change, Store, Watch, WatchOverflow, Writes
from raftswarm.wire.requests import Assignments, ManagerPeer, OpenSession, Route, SessionMessage
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices, run_sliced

logger = logging.getLogger("raftswarm.dispatcher")

HEARTBEAT_SECONDS: Final = 5.0
JITTER_SECONDS: Final = 0.5
GRACE_PERIODS: Final = 3
UNKNOWN_GRACE_PERIODS: Final = 6
ORPHAN_SECONDS: Final = 24 * 3600.0
MAX_STATUS_BYTES: Final = 64 * 1024
MAX_DESCRIPTION_BYTES: Final = 256 * 1024

LEADERSHIP_CHANGE: Final = 'Node moved to "unknown" state due to leadership change in cluster'

Deadline = tuple[Literal["heartbeat", "orphans"], str]
"""What is due, and for which node."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the dispatcher is given."""

    store: Store
    writes: Writes
    node_id: str
    """Of the manager it runs on."""
    managers: Callable[[], Sequence[ManagerPeer]]
    entropy: Entropy
    chance: Random
    wall_clock: WallClock
    epoch: int = 0
    """Of the cluster."""


class Term:
    """Begins with every node in doubt; ends with `close`."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._store = surroundings.store
        self._writes = surroundings.writes
        self._managers = surroundings.managers
        self._epoch = surroundings.epoch
        self._chance = surroundings.chance
        self._sessions = Sessions(surroundings.entropy)
        self._reports = Reports(surroundings.writes, surroundings.node_id, surroundings.wall_clock)
        self._deadlines: Deadlines[Deadline] = Deadlines()
        self._assignments: dict[str, NodeAssignments] = {}
        self._routes: tuple[Route, ...] = ()
        self._routes_changed = Bell()

    # While it lasts.

    async def begin(self) -> None:
        """Doubt every node that is not known to be down: its last heartbeats went to somebody else (SWARM 7.2)."""
        news = NodeNews(state=NodeState.UNKNOWN, message=LEADERSHIP_CHANGE)
        grace = UNKNOWN_GRACE_PERIODS * self._period()
        for node in self._store.find(Node):
            if node.state is NodeState.DOWN:
                self._expect("orphans", node.id, ORPHAN_SECONDS)
            else:
                self._reports.add_node(node.id, news)
                self._expect("heartbeat", node.id, grace)
        await self._reports.flush()
        await run_sliced(self._give_up_lost_nodes())
        self._routes = await run_sliced(find_routes(self._store))

    async def serve(self, watch: Watch) -> None:
        """Serve until cancelled; `watch` was opened before `begin`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reports.run)
            nursery.start_soon(self._follow_changes, watch)
            nursery.start_soon(self._follow_routes)
            nursery.start_soon(self._follow_deadlines)

    def close(self) -> None:
        """End every session: agents look for the next leader."""
        for session in self._sessions.all():
            session.end(must_disconnect())
        self._reports.close()

    async def say_goodbye(self) -> None:
        """Write down, if that is still possible, that the agents are on their way to another manager."""
        news = NodeNews(state=NodeState.DISCONNECTED, message="node is currently trying to find new manager")
        for session in self._sessions.all():
            self._reports.add_node(session.node_id, news)
        await self._reports.flush()

    # What agents ask.

    async def register(self, node_id: str, remote_address: str, request: OpenSession) -> Session:
        """Begin or resume a session; returns when the store says that the node is ready."""
        if self._store.get(Node, node_id) is None:
            raise not_registered()
        _check_size(request.description, MAX_DESCRIPTION_BYTES)
        session = self._sessions.open(node_id, request.session_id)
        self.expect_heartbeat(session)
        news = NodeNews(state=NodeState.READY, description=request.description, address=_host(remote_address))
        await self._reports.add_node(node_id, news).wait()
        if session.ended is not None:
            raise session.ended
        return session

    def require_session(self, node_id: str, session_id: str) -> Session:
        """The session, if it is the node's."""
        return self._sessions.require(node_id, session_id)

    def expect_heartbeat(self, session: Session) -> float:
        """Expect the next heartbeat within a period, of which some may be missed; return the period."""
        period = self._jittered_period()
        self._expect("heartbeat", session.node_id, GRACE_PERIODS * period)
        return period

    async def report(self, node_id: str, statuses: Sequence[tuple[str, TaskStatus]]) -> None:
        """Take in what an agent observed; of tasks that are gone, nothing."""
        known: list[tuple[str, TaskStatus]] = []
        for task_id, status in statuses:
            task = self._store.get(Task, task_id)
            if task is None:
                continue
            if task.node_id != node_id:
                raise RequestRefused("cannot update a task that is not assigned to this node", code="PermissionDenied")
            if status.state is TaskState.REMOVE:
                raise RequestRefused("no task is ever observed to be in state remove", code="InvalidArgument")
            _check_size(status, MAX_STATUS_BYTES)
            known.append((task_id, status))
        await self._reports.wait_room()
        for task_id, status in known:
            self._reports.add_status(task_id, status)

    def messages(self, session: Session) -> SessionMessages:
        """The stream that answers `OpenSession`."""
        return SessionMessages(self, session, heartbeat_offset=self._jittered_period() - self._period())

    def message(self, session: Session, heartbeat_offset: float) -> SessionMessage:
        """What the agent should know now."""
        node = self._store.get(Node, session.node_id)
        if node is None:
            raise not_registered()
        return SessionMessage(
            session_id=session.id,
            node=node,
            managers=tuple(self._managers()),
            heartbeat_seconds=self._period() + heartbeat_offset,
            epoch=self._epoch,
        )

    def assignments(self, session: Session) -> AssignmentMessages:
        """The stream that answers `GetAssignments`."""
        self._assignments[session.node_id] = assignments = NodeAssignments(session.node_id)
        return AssignmentMessages(self, session, assignments)

    def end_assignments(self, session: Session, assignments: NodeAssignments) -> None:
        """The stream was closed."""
        if self._assignments.get(session.node_id) is assignments:
            del self._assignments[session.node_id]

    def next_assignments(self, assignments: NodeAssignments) -> Assignments | None:
        """What is to be sent on such a stream now."""
        return assignments.next_message(self._store, self._routes)

    # What happens meanwhile.

    async def _follow_changes(self, watch: Watch) -> None:
        while True:
            try:
                changes = await watch.next()
            except WatchOverflow:
                self._start_over()
                await run_sliced(self._give_up_lost_nodes())
                continue
            await run_sliced(self._pass_on_all(changes))

    def _pass_on_all(self, changes: Sequence[Change]) -> Slices[None]:
        for change in changes:
            yield
            self._pass_on(change)

    def _pass_on(self, change: Change) -> None:
        if changes_routes(change):
            self._routes_changed.ring()
        match change.object:
            case Task(id=task_id, node_id=node_id) if node_id:
                self._note_task(node_id, task_id)
            case Node(id=node_id) as node:
                if change.after is None:
                    self._forget_node(node_id)
                elif not isinstance(change.before, Node) or _as_manager(change.before) != _as_manager(node):
                    self._ring_all(SessionMessages)
                else:
                    self._ring(node_id, SessionMessages)
            case Cluster():
                self._ring_all(SessionMessages)
            case _:
                pass

    def _note_task(self, node_id: str, task_id: str) -> None:
        assignments = self._assignments.get(node_id)
        if assignments is not None:
            assignments.note(task_id)
            self._ring(node_id, AssignmentMessages)

    def _start_over(self) -> None:
        for session in self._sessions.all():
            if self._store.get(Node, session.node_id) is None:
                self._forget_node(session.node_id)
        for assignments in self._assignments.values():
            assignments.start_over()
        self._routes_changed.ring()
        self._ring_all(SessionMessages)
        self._ring_all(AssignmentMessages)

    def _forget_node(self, node_id: str) -> None:
        self._sessions.forget(node_id)
        self._assignments.pop(node_id, None)
        self._deadlines.drop(("heartbeat", node_id))
        self._expect("orphans", node_id, 0.0)
        self._ring_all(SessionMessages)

    def _ring(self, node_id: str, stream: type) -> None:
        session = self._sessions.get(node_id)
        if session is not None:
            session.ring(stream)

    def _ring_all(self, stream: type) -> None:
        for session in self._sessions.all():
            session.ring(stream)

    async def _follow_routes(self) -> None:
        while True:
            await self._routes_changed.wait()
            routes = await run_sliced(find_routes(self._store))
            if routes != self._routes:
                self._routes = routes
                self._ring_all(AssignmentMessages)
            await trio.sleep(BATCH_SECONDS)

    async def _follow_deadlines(self) -> None:
        while True:
            for what, node_id in await self._deadlines.wait_due():
                if what == "heartbeat":
                    self._mark_down(node_id)
                else:
                    await self._orphan_tasks(node_id)

    def _mark_down(self, node_id: str) -> None:
        was_in_touch = self._sessions.end(node_id, not_registered())
        self._assignments.pop(node_id, None)
        message = "heartbeat failure" if was_in_touch else 'heartbeat failure for node in "unknown" state'
        self._reports.add_node(node_id, NodeNews(state=NodeState.DOWN, message=message))
        self._expect("orphans", node_id, ORPHAN_SECONDS)

    async def _orphan_tasks(self, node_id: str) -> None:
        node = self._store.get(Node, node_id)
        if node is not None and node.state is not NodeState.DOWN:
            return
        try:
            await self._writes.write_each([task.id for task in self._store.tasks_of_node(node_id)], orphan)
        except RaftSwarmError as error:
            logger.info("tasks of node %s are given up later: %s", node_id, error)
            self._expect("orphans", node_id, HEARTBEAT_SECONDS)

    def _give_up_lost_nodes(self) -> Slices[None]:
        """Nobody speaks for a node that is gone; a task may have come to it while it was being removed."""
        for task in self._store.find(Task):
            yield
            if holds_resources(task) and self._store.get(Node, task.node_id) is None:
                self._expect("orphans", task.node_id, 0.0)

    # How long.

    def _expect(self, what: Literal["heartbeat", "orphans"], node_id: str, seconds: float) -> None:
        self._deadlines.set((what, node_id), trio.current_time() + seconds)

    def _period(self) -> float:
        cluster = self._store.cluster
        nanoseconds = cluster.spec.dispatcher.heartbeat_period if cluster is not None else 0
        return nanoseconds / 1e9 if nanoseconds > 0 else HEARTBEAT_SECONDS

    def _jittered_period(self) -> float:
        period = self._period()
        jitter = min(JITTER_SECONDS, period / 10)
        return period + self._chance.uniform(-jitter, jitter)


class SessionMessages:
    """What `OpenSession` is answered with: a message at once, and one whenever it would say something else."""

    def __init__(self, term: Term, session: Session, *, heartbeat_offset: float) -> None:
        self._term = term
        self._session = session
        self._heartbeat_offset = heartbeat_offset
        self._bell = session.begin_stream(SessionMessages)
        self._last: SessionMessage | None = None

    def __aiter__(self) -> SessionMessages:
        return self

    async def __anext__(self) -> SessionMessage:
        await trio.lowlevel.checkpoint()
        while True:
            self._session.check(SessionMessages, self._bell)
            message = self._term.message(self._session, self._heartbeat_offset)
            if message != self._last:
                self._last = message
                return message
            await self._bell.wait()


class AssignmentMessages:
    """What `GetAssignments` is answered with: the first message at once, then at most one every 100 ms."""

    def __init__(self, term: Term, session: Session, assignments: NodeAssignments) -> None:
        self._term = term
        self._session = session
        self._assignments = assignments
        self._bell = session.begin_stream(AssignmentMessages)
        self._not_before = trio.current_time()

    def __aiter__(self) -> AssignmentMessages:
        return self

    async def __anext__(self) -> Assignments:
        await trio.sleep_until(self._not_before)
        while True:
            self._session.check(AssignmentMessages, self._bell)
            message = self._term.next_assignments(self._assignments)
            if message is not None:
                self._not_before = trio.current_time() + BATCH_SECONDS
                return message
            await self._bell.wait()

    def close(self) -> None:
        """Keep no account any more of what it would have to send."""
        self._term.end_assignments(self._session, self._assignments)


def _as_manager(node: Node) -> tuple[str, str, int]:
    return node.role, node.manager_address, node.member_id


def _check_size(reported: TaskStatus | NodeDescription, most: int) -> None:
    # What an agent says goes into the log of every manager.
    size = len(msgspec.msgpack.encode(reported))
    if size > most:
        raise RequestRefused(f"a report of {size} bytes is too large, {most} at most", code="InvalidArgument")


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
