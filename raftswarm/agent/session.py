"""One session of the agent with a manager: registered, then four loops until the first of them ends (SWARM 7.1, 8.1).

The loops: heartbeats, assignments, reports, and a look now and then whether this machine has changed. Tasks do not
notice when a session ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Final, Protocol, TypeVar

import trio

from raftswarm.agent.published import PublishedPorts
from raftswarm.agent.worker import Worker
from raftswarm.errors import LinkClosed, RaftSwarmError
from raftswarm.objects.records import NodeDescription
from raftswarm.wire.requests import (
    AnyAnswer,
    AnyRequest,
    Assignments,
    BeatHeart,
    GetAssignments,
    HeartBeaten,
    OpenSession,
    ReportStatus,
    SessionMessage,
)

ANSWER_SECONDS: Final = 5.0
DESCRIBE_SECONDS: Final = 20.0
REPORT_LIMIT: Final = 1000
_SILENCE: Final = f"the manager did not answer within {ANSWER_SECONDS:g} s"

A = TypeVar("A")


class Manager(Protocol):
    """A connection to one manager: `transport.calls.Caller`."""

    async def call(self, request: AnyRequest) -> AnyAnswer:
        """Ask and wait."""
        ...

    def stream(self, request: AnyRequest) -> AbstractAsyncContextManager[AsyncIterator[AnyAnswer]]:
        """Ask and iterate."""
        ...


class Session:
    """A session as it is lived; made anew for each."""

    def __init__(
        self,
        manager: Manager,
        worker: Worker,
        ports: PublishedPorts,
        describe: Callable[[], NodeDescription],
        heard: Callable[[SessionMessage], None],
    ) -> None:
        """`heard` is given every session message, the first when the session stands."""
        self._manager = manager
        self._worker = worker
        self._ports = ports
        self._describe = describe
        self._heard = heard
        self._id = ""

    async def hold(self, resume: str) -> None:
        """Open the session, resuming that one if named; return when this machine has to be described anew.

        Raises:
            RaftSwarmError: why it ended otherwise.
        """
        description = self._describe()
        opening = OpenSession(description=description, session_id=resume)
        with trio.move_on_after(ANSWER_SECONDS) as set_up:
            async with self._manager.stream(opening) as messages:
                first = await _next(messages, SessionMessage)
                set_up.deadline = inf
                self._id = first.session_id
                self._heard(first)
                self._worker.report_everything()
                await _until_first_ends(
                    lambda: self._listen(messages),
                    self._beat,
                    self._follow_assignments,
                    self._report,
                    lambda: self._watch_description(description),
                )
        if set_up.cancelled_caught:
            raise LinkClosed(_SILENCE)

    async def _listen(self, messages: AsyncIterator[AnyAnswer]) -> None:
        while True:
            self._heard(await _next(messages, SessionMessage))

    async def _beat(self) -> None:
        while True:
            answer = await _answered(self._manager.call(BeatHeart(session_id=self._id)))
            await trio.sleep(_expect(answer, HeartBeaten).period_seconds)

    async def _follow_assignments(self) -> None:
        async with self._manager.stream(GetAssignments(session_id=self._id)) as stream:
            while True:
                assignments = await _next(stream, Assignments)
                if assignments.routes is not None:
                    self._ports.set_swarm_routes(assignments.routes)
                await self._worker.assign(assignments)

    async def _report(self) -> None:
        while True:
            statuses = await self._worker.take_statuses(REPORT_LIMIT)
            # What is lost here ends the session, and the next one begins with everything.
            await _answered(self._manager.call(ReportStatus(session_id=self._id, statuses=tuple(statuses.items()))))

    async def _watch_description(self, described: NodeDescription) -> None:
        while True:
            await trio.sleep(DESCRIBE_SECONDS)
            if self._describe() != described:
                return


async def _next(stream: AsyncIterator[AnyAnswer], kind: type[A]) -> A:
    try:
        return _expect(await anext(stream), kind)
    except StopAsyncIteration:
        raise LinkClosed("the manager ended the session") from None


def _expect(answer: AnyAnswer, kind: type[A]) -> A:
    if not isinstance(answer, kind):
        raise LinkClosed(f"the manager answered with {type(answer).__name__} instead of {kind.__name__}")
    return answer


async def _answered(answer: Awaitable[A]) -> A:
    try:
        with trio.fail_after(ANSWER_SECONDS):
            return await answer
    except trio.TooSlowError:
        raise LinkClosed(_SILENCE) from None


async def _until_first_ends(*loops: Callable[[], Awaitable[None]]) -> None:
    """Run all until one returns or fails; its error comes out as it is."""
    failures: list[RaftSwarmError] = []

    async def run(loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
        except RaftSwarmError as error:
            failures.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for loop in loops:
            nursery.start_soon(run, loop)
    if failures:
        raise failures[0]
