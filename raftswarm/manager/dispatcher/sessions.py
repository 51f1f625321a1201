"""Sessions of agents: one per node; a new registration ends the one before (SWARM 7.1)."""

from __future__ import annotations

import attrs
import trio

from raftswarm.errors import RequestRefused
from raftswarm.manager.dispatcher.signals import Bell
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id
from raftswarm.world.chance import Entropy

RATE_PERIOD_SECONDS = 8.0
RATE_LIMIT = 3


def not_registered() -> RequestRefused:
    """The node has no session here, or does not exist."""
    return RequestRefused("node not registered", code="NotFound")


def session_invalid() -> RequestRefused:
    """The node has another session, or its stream was replaced."""
    return RequestRefused("session invalid", code="InvalidArgument")


def must_disconnect() -> RequestRefused:
    """This manager does not lead any more."""
    return RequestRefused("node must disconnect", code="Aborted")


@attrs.define(eq=False)
class Session:
    """What the dispatcher knows of an agent while it is in touch."""

    node_id: str
    id: str
    ended: RequestRefused | None = None
    """Why its streams and calls fail."""
    bells: dict[type, Bell] = attrs.field(factory=dict)
    """Of its open streams, the newest of each kind."""

    def end(self, why: RequestRefused) -> None:
        """Make everything that belongs to it fail."""
        self.ended = why
        for bell in self.bells.values():
            bell.ring()

    def begin_stream(self, kind: type) -> Bell:
        """Begin the session's one stream of that kind, in the place of an earlier one."""
        replaced = self.bells.get(kind)
        self.bells[kind] = bell = Bell()
        if replaced is not None:
            replaced.ring()
        return bell

    def ring(self, kind: type) -> None:
        """Wake that stream, if it is open."""
        bell = self.bells.get(kind)
        if bell is not None:
            bell.ring()

    def check(self, kind: type, bell: Bell) -> None:
        """Raise what ended the session or the stream."""
        if self.ended is not None:
            raise self.ended
        if self.bells.get(kind) is not bell:
            raise session_invalid()


@attrs.define
class _Registrations:
    last: float
    attempts: int = 0


class Sessions:
    """All sessions of this term of leadership."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._by_node: dict[str, Session] = {}
        self._registrations: dict[str, _Registrations] = {}

    def open(self, node_id: str, session_id: str) -> Session:
        """Resume that session of the node, or begin a new one; not too often."""
        session = self._by_node.get(node_id)
        if session is not None and session.id == session_id:
            return session
        self._limit_rate(node_id)
        self.end(node_id, session_invalid())
        session = Session(node_id, make_id(self._entropy.token_bytes(ID_RANDOM_BYTES)))
        self._by_node[node_id] = session
        return session

    def get(self, node_id: str) -> Session | None:
        """The node's session."""
        return self._by_node.get(node_id)

    def require(self, node_id: str, session_id: str) -> Session:
        """The node's session, if it is that one."""
        session = self._by_node.get(node_id)
        if session is None:
            raise not_registered()
        if session.id != session_id:
            raise session_invalid()
        return session

    def all(self) -> list[Session]:
        """All sessions, in the order in which they began."""
        return list(self._by_node.values())

    def end(self, node_id: str, why: RequestRefused) -> bool:
        """End the node's session; tell whether there was one."""
        session = self._by_node.pop(node_id, None)
        if session is not None:
            session.end(why)
        return session is not None

    def forget(self, node_id: str) -> None:
        """The node was removed from the swarm."""
        self.end(node_id, not_registered())
        self._registrations.pop(node_id, None)

    def _limit_rate(self, node_id: str) -> None:
        now = trio.current_time()
        seen = self._registrations.setdefault(node_id, _Registrations(now))
        if now - seen.last > RATE_PERIOD_SECONDS:
            seen.attempts = 0
        seen.attempts += 1
        if seen.attempts > RATE_LIMIT:
            raise RequestRefused(f"node {node_id} exceeded rate limit count of registrations", code="Unavailable")
        seen.last = now  # What is refused counts for nothing: who asks again and again gets in after the period.
