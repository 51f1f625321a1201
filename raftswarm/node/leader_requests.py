"""Control requests: answered here when leading, else by the leader, one hop; waits while an election is possible.

The words are Docker's (SWARM 12.8, 15). A write whose answer was lost is never sent twice: it may have happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import trio

from raftswarm.consensus.watched import Watched
from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError, NotLeader, OutcomeUnknown, RequestRefused
from raftswarm.manager.control.requests import (
    AnyControlAnswer,
    AnyControlRequest,
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
    decode_answer,
    encode_request,
)
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.ready import Leadership
from raftswarm.transport.helpers import open_helpers
from raftswarm.wire.requests import AnyAnswer, AnyRequest, Control, Controlled
from raftswarm.world.slices import run_sliced

T = TypeVar("T")

REQUEST_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.02
NO_LEADER: Final = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)
LOST_LEADERSHIP: Final = "raft: failed to process the request: node lost leader status"

READS = (
    GetCluster,
    GetUnlockKey,
    ListNodes,
    GetNode,
    ListServices,
    GetService,
    ListTasks,
    GetTask,
    ExplainTask,
    ExplainService,
    GetStatus,
)


class ControlHandler(Protocol):
    """Answers on the leader (`manager.control`)."""

    async def handle(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Answer, or refuse with `RequestRefused`."""
        ...


class Member(Protocol):
    """What this manager's own member knows of the leader (`consensus.driver`)."""

    leadership: Watched[Leadership]
    configuration: Watched[Configuration]
    leaderless_since: float | None
    member_id: int

    async def read_barrier(self) -> None:
        """Return when local reads are linearizable; NotLeader elsewhere."""
        ...


class Calls(Protocol):
    """The way to other managers (`transport.call_pool`)."""

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        """Ask the manager there."""
        ...


class LeaderRequests:
    """One manager's way to the leader, whoever it is."""

    def __init__(self, member: Member, calls: Calls, handler: ControlHandler, *, election_seconds: float) -> None:
        self._member = member
        self._calls = calls
        self._handler = handler
        self._patience = 2.5 * election_seconds
        """How long without a leader until we say so: longer than any election that can succeed at once."""

    async def control(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Have a control request answered by the leader."""
        may_repeat = isinstance(request, READS)

        async def here() -> AnyControlAnswer:
            return await self.answer_here(request)

        async def there(address: str) -> AnyControlAnswer:
            answer = await self._calls.call(address, Control(body=encode_request(request)))
            assert isinstance(answer, Controlled), "the codec pairs answers with requests"
            return await run_sliced(decode_answer(answer.body))

        return await self._by_leader(here, there, may_repeat=may_repeat)

    async def answer_here(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Answer as the leader; NotLeader when somebody else is. Reads are linearizable (6.4)."""
        self.require_leading()
        if isinstance(request, READS):
            await self._member.read_barrier()
        return await self._handler.handle(request)

    async def by_leader(self, request: AnyRequest, here: Callable[[], Awaitable[AnyAnswer]]) -> AnyAnswer:
        """Serve a write that came from a caller without a way to the leader: by `here` if that is us."""

        async def there(address: str) -> AnyAnswer:
            return await self._calls.call(address, request)

        return await self._by_leader(here, there, may_repeat=False)

    def why_no_leader(self) -> str:
        """What to say when there has been no leader for too long; empty while there is one, or may soon be."""
        since = self._member.leaderless_since
        return NO_LEADER if since is not None and trio.current_time() - since > self._patience else ""

    def require_leading(self) -> None:
        """Raise NotLeader, naming the leader, unless we lead."""
        leadership = self._member.leadership.value
        if not leadership.is_leader:
            raise NotLeader("this manager does not lead", leadership.leader or None, self._leader_address())

    def _leader_address(self) -> str:
        info = self._member.configuration.value.member(self._member.leadership.value.leader)
        return info.address if info is not None else ""

    async def _by_leader(
        self, here: Callable[[], Awaitable[T]], there: Callable[[str], Awaitable[T]], *, may_repeat: bool
    ) -> T:
        with trio.move_on_after(REQUEST_SECONDS):
            while True:
                seen = self._member.leadership.value
                try:
                    if seen.is_leader:
                        return await here()
                    address = self._leader_address()
                    if address and seen.leader != self._member.member_id:
                        return await self._while_it_leads(seen, there, address)
                except (NotLeader, ConnectionRefused):
                    pass  # Nothing happened: ask the next leader.
                except (OutcomeUnknown, LinkError) as error:
                    if not may_repeat:
                        raise RequestRefused(LOST_LEADERSHIP, code="Unknown") from error
                await self._wait_for_another_leader_than(seen)
        raise RequestRefused("context deadline exceeded", code="DeadlineExceeded")

    async def _while_it_leads(self, seen: Leadership, there: Callable[[str], Awaitable[T]], address: str) -> T:
        """Wait for the leader's answer, but not once another leads: a manager that hangs would never give it."""
        async with open_helpers() as helpers:
            with trio.CancelScope() as patience:
                helpers.start_soon(self._give_up_when_superseded, seen, patience)
                return await there(address)
        raise LinkClosed("another manager leads now")

    async def _give_up_when_superseded(self, seen: Leadership, patience: trio.CancelScope) -> None:
        with contextlib.suppress(NotLeader):  # Our own member has stopped; the leader's answer may still come.
            await self._member.leadership.wait_until(lambda now: now.leader not in (0, seen.leader))
            patience.cancel()

    async def _wait_for_another_leader_than(self, seen: Leadership) -> None:
        """Wait a moment for a leader that is known to be ready or gone; longer while there is none."""
        since = self._member.leaderless_since
        if since is None:
            with trio.move_on_after(RETRY_SECONDS):
                await self._member.leadership.wait_until(lambda now: now != seen)
            return
        with trio.CancelScope(deadline=since + self._patience):
            await self._member.leadership.wait_until(lambda now: bool(now.leader))
            return
        raise RequestRefused(NO_LEADER, code="Unknown")
