"""Serves clients on a member's own port: their commands are proposed, their questions answered, in batches.

The one big idea: no task and no object per request. A frame of commands is one run of proposals, and what is applied of
it in one turn is one frame of answers, posted right away; only what the link has no room for waits on the desk, for its
writer. Whoever does not take its answers is read from no more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import trio

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.watched import Watched
from raftswarm.errors import InvalidSpec, LinkClosed, PayloadTooLarge, RaftSwarmError, Rejected
from raftswarm.raft.state_machine import Queryable, StateMachine
from raftswarm.transport.host_links import FIRST_FRAME_SECONDS
from raftswarm.wire.client_codec import (
    FRAME_PARTS,
    MAX_ANSWER_BYTES,
    Commands,
    Failures,
    FromClient,
    Hello,
    Look,
    Questions,
    Whereabouts,
    decode_from_client,
    encode_from_member,
    encode_outcomes,
)
from raftswarm.wire.envelopes import EnvelopeKind
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import encode_failure
from raftswarm.wire.values import encode_value
from raftswarm.world.network import Link

logger = logging.getLogger("raftswarm.clients")

MAX_OPEN_REQUESTS: Final = 8192
"""Of one link; as long as there are more, nothing is read from it."""

T = TypeVar("T")

_KINDS: Final = frozenset(bytes([kind]) for kind in EnvelopeKind)


async def greet_client(link: Link, groups: Mapping[str, Callable[[Link], Awaitable[None]]]) -> None:
    """Hear which group a client wants, and hand its link on to who serves that group here."""
    hello: FromClient | None = None
    with trio.move_on_after(FIRST_FRAME_SECONDS):
        hello = decode_from_client(await link.receive())
    if not isinstance(hello, Hello):
        raise WireError("a client has to say first which group it wants")
    serve = groups.get(hello.group)
    if serve is not None:
        await serve(link)
    else:
        error = InvalidSpec(f"no member of {hello.group!r} runs here")
        link.post(encode_from_member(Failures(0, 1, encode_failure(error))))


async def serve_client(link: Link, driver: Driver, machine: StateMachine) -> None:
    """Serve a client until its link ends; `machine` is the user's own, which questions are put to."""
    await _Desk(link, driver, machine).run()


class _Desk:
    """One client's requests, and the answers that its link had no room for."""

    def __init__(self, link: Link, driver: Driver, machine: StateMachine) -> None:
        self._link = link
        self._driver = driver
        self._machine = machine
        self._open = 0
        """Requests that have come and whose answers the link has not taken yet."""
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Frames that the link had no room for, and how many requests each answers."""
        self._has_news = True
        """There is something to say about who leads."""
        self._writer = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Serve until the link ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._watch, self._driver.leadership)
            nursery.start_soon(self._watch, self._driver.configuration)
            try:
                await self._read()
            except LinkClosed:
                pass  # What it left behind goes on; a session finds the answers on its next link.
            except WireError as error:
                logger.warning("client at %s: %s", self._link.remote_address, error)
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            self._take(decode_from_client(await self._link.receive()))
            while self._open > MAX_OPEN_REQUESTS:
                await self._room.park()

    def _take(self, frame: FromClient) -> None:
        match frame:
            case Commands(first, envelopes):
                self._accept(len(envelopes))
                if _KINDS.issuperset({envelope[:1] for envelope in envelopes}):
                    self._driver.replica.propose_many(envelopes, _CommandsWaiter(self, first))
                else:  # Once in the log, it would stop every member that does not know it.
                    error = Rejected("this member is of an older version than the client: update it")
                    self.fail(first, len(envelopes), error)
            case Questions(first, questions):
                self._accept(len(questions))
                self._driver.replica.read_barrier(_QuestionsWaiter(self, first, questions))
            case Look():
                self._tell_news()
            case Hello():
                raise WireError("a client has said which group it wants already")

    def _accept(self, count: int) -> None:
        if not 0 < count <= FRAME_PARTS:
            raise WireError(f"a frame has {count} requests; at most {FRAME_PARTS} are allowed, and one at least")
        self._open += count

    async def _watch(self, watched: Watched[T]) -> None:
        async for _ in watched:
            self._tell_news()

    # Answers.

    def answer(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Answer requests, in order, from that number on; as of `encode_outcomes`."""
        self._waiting.extend(encode_outcomes(first, results, failed))
        self._post_answers()

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        """Answer so many requests with the same error."""
        self._waiting.append((encode_from_member(Failures(first, count, encode_failure(error))), count))
        self._post_answers()

    def ask_machine(self, question: bytes) -> object:
        """Return the machine's answer; the error for the client if there is none."""
        if not isinstance(self._machine, Queryable):
            raise InvalidSpec(f"{type(self._machine).__name__} cannot be asked: give it a method query(question)")
        try:
            answer = self._machine.query(question)
            size = len(encode_value(answer))
        except RaftSwarmError:
            raise
        except Exception as error:
            logger.exception("a question from %s failed", self._link.remote_address)
            raise Rejected(f"the question failed on the member: {type(error).__name__}: {error}") from error
        if size > MAX_ANSWER_BYTES:
            raise PayloadTooLarge(f"the answer has {size} bytes; the most is {MAX_ANSWER_BYTES}: ask for less")
        return answer

    def _tell_news(self) -> None:
        self._has_news = True
        self._writer.unpark()

    def _post_answers(self) -> None:
        """Let the link have what it has room for; the writer waits for more."""
        while self._waiting:
            frame, count = self._waiting[0]
            if not self._link.hold(frame):
                self._writer.unpark()
                break
            self._waiting.popleft()
            self._open -= count
        self._link.flush()
        if self._room:
            self._room.unpark_all()

    async def _write(self) -> None:
        """Post what there was no room for, and the news that others are to be asked from now on behind it."""
        with suppress(LinkClosed):  # The reader hears of it, too.
            while True:
                await self._link.wait_room()
                self._post_answers()
                if not self._waiting:
                    if self._has_news:
                        self._has_news = not self._link.post(encode_from_member(self._whereabouts()))
                    else:
                        await self._writer.park()

    def _whereabouts(self) -> Whereabouts:
        leadership, configuration = self._driver.leadership.value, self._driver.configuration.value
        leader = configuration.member(leadership.leader)
        is_other = leader is not None and leader.id != self._driver.member_id
        return Whereabouts(
            leads=leadership.is_leader,
            leader=leader.address if leader is not None and is_other else "",
            members=[info.address for info in (*configuration.voters, *configuration.learners)],
        )


class _CommandsWaiter:
    """Waits for the commands of a frame (`proposals.Proposers`), and answers them in their order."""

    __slots__ = ("_desk", "_early", "_first", "_next")

    def __init__(self, desk: _Desk, first: int) -> None:
        self._desk = desk
        self._first = first
        self._next = 0
        """Place of the first one that is not answered."""
        self._early: dict[int, tuple[int, Callable[[], object]]] = {}
        """How many are to be answered from a place on, and how, once those before them are."""

    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Answer with the results."""
        number = self._first + first
        self._answer(first, len(results), lambda: self._desk.answer(number, results, failed))

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        """Answer with the error."""
        number = self._first + first
        self._answer(first, count, lambda: self._desk.fail(number, count, error))

    def _answer(self, place: int, count: int, answer: Callable[[], object]) -> None:
        if count:
            self._early[place] = count, answer
        while (due := self._early.pop(self._next, None)) is not None:
            self._next += due[0]
            due[1]()


class _QuestionsWaiter:
    """Waits for the read barrier of a frame of questions, and asks them all then."""

    def __init__(self, desk: _Desk, first: int, questions: list[bytes]) -> None:
        self._desk = desk
        self._first = first
        self._questions = questions

    def complete(self, result: object) -> None:
        """The machine here is up to date."""
        del result
        answers: list[object] = []
        failed: dict[int, RaftSwarmError] = {}
        for place, question in enumerate(self._questions):
            try:
                answers.append(self._desk.ask_machine(question))
            except RaftSwarmError as error:
                failed[place] = error
                answers.append(None)
        self._desk.answer(self._first, answers, failed)

    def fail(self, error: RaftSwarmError) -> None:
        """No leader was reached."""
        self._desk.fail(self._first, len(self._questions), error)
