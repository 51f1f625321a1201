"""Serves clients on a member's own port: their commands are proposed, their questions answered, in batches.

The one big idea: no task per request. A command's waiter puts its result on the link's desk, and one writer per link
clears the desk once a turn, many answers to a frame. Whoever does not take its answers is read from no more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import trio

from raftswarm.consensus.driver import Driver
from raftswarm.consensus.watched import Watched
from raftswarm.errors import InvalidSpec, LinkClosed, PayloadTooLarge, RaftSwarmError, Rejected, ResultLost
from raftswarm.raft.state_machine import Queryable, StateMachine
from raftswarm.transport.host_links import FIRST_FRAME_SECONDS
from raftswarm.wire.client_codec import (
    MAX_ANSWER_BYTES,
    Answers,
    Commands,
    Failures,
    FromClient,
    FromMember,
    Hello,
    Look,
    Questions,
    Whereabouts,
    cut,
    decode_from_client,
    encode_from_member,
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
        link.post(encode_from_member(Failures([0], [encode_failure(error)])))


async def serve_client(link: Link, driver: Driver, machine: StateMachine) -> None:
    """Serve a client until its link ends; `machine` is the user's own, which questions are put to."""
    await _Desk(link, driver, machine).run()


class _Desk:
    """One client's requests, and the answers that wait to be sent."""

    def __init__(self, link: Link, driver: Driver, machine: StateMachine) -> None:
        self._link = link
        self._driver = driver
        self._machine = machine
        self._open = 0
        """Requests that have come and whose answers are not sent yet."""
        self._answers: list[tuple[int, bytes]] = []
        self._failures: list[tuple[int, bytes]] = []
        self._has_news = True
        """There is something to say about who leads."""
        self._writer_waits = False
        self._to_write = trio.lowlevel.ParkingLot()
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
                self._open += len(envelopes)
                propose = self._driver.replica.propose
                for number, envelope in enumerate(envelopes, first):
                    if envelope[:1] in _KINDS:
                        propose(envelope, _CommandWaiter(self, number))
                    else:  # Once in the log, it would stop every member that does not know it.
                        self.fail(number, Rejected("this member is of an older version than the client: update it"))
            case Questions(first, questions):
                self._open += len(questions)
                self._driver.replica.read_barrier(_QuestionsWaiter(self, first, questions))
            case Look():
                self._tell_news()
            case Hello():
                raise WireError("a client has said which group it wants already")

    async def _watch(self, watched: Watched[T]) -> None:
        async for _ in watched:
            self._tell_news()

    # Answers.

    def answer(self, number: int, encoded: bytes) -> None:
        """A result for the client."""
        self._answers.append((number, encoded))
        if self._writer_waits:
            self._wake_writer()

    def fail(self, number: int, error: RaftSwarmError) -> None:
        """An error for the client."""
        self._failures.append((number, encode_failure(error)))
        if self._writer_waits:
            self._wake_writer()

    def ask_machine(self, question: bytes) -> bytes:
        """Return the machine's answer, encoded; the error for the client if there is none."""
        if not isinstance(self._machine, Queryable):
            raise InvalidSpec(f"{type(self._machine).__name__} cannot be asked: give it a method query(question)")
        try:
            encoded = encode_value(self._machine.query(question))
        except RaftSwarmError:
            raise
        except Exception as error:
            logger.exception("a question from %s failed", self._link.remote_address)
            raise Rejected(f"the question failed on the member: {type(error).__name__}: {error}") from error
        if len(encoded) > MAX_ANSWER_BYTES:
            raise PayloadTooLarge(f"the answer has {len(encoded)} bytes; the most is {MAX_ANSWER_BYTES}: ask for less")
        return encoded

    def _tell_news(self) -> None:
        self._has_news = True
        if self._writer_waits:
            self._wake_writer()

    def _wake_writer(self) -> None:
        self._writer_waits = False
        self._to_write.unpark()

    async def _write(self) -> None:
        with suppress(LinkClosed):  # The reader hears of it, too.
            while True:
                for frame in self._clear():
                    encoded = encode_from_member(frame)
                    while not self._link.post(encoded):
                        await self._link.wait_room()
                if not (self._answers or self._failures or self._has_news):
                    self._writer_waits = True
                    await self._to_write.park()

    def _clear(self) -> list[FromMember]:
        """Take what is on the desk: answers before the news that others have to be asked from now on."""
        answers, self._answers = self._answers, []
        failures, self._failures = self._failures, []
        frames: list[FromMember] = [
            *(Answers([number for number, _ in part], [msgspec.Raw(raw) for _, raw in part]) for part in cut(answers)),
            *(Failures([number for number, _ in part], [raw for _, raw in part]) for part in cut(failures)),
        ]
        if self._has_news:
            self._has_news = False
            frames.append(self._whereabouts())
        self._open -= len(answers) + len(failures)
        self._room.unpark_all()
        return frames

    def _whereabouts(self) -> Whereabouts:
        leadership, configuration = self._driver.leadership.value, self._driver.configuration.value
        leader = configuration.member(leadership.leader)
        is_other = leader is not None and leader.id != self._driver.member_id
        return Whereabouts(
            leads=leadership.is_leader,
            leader=leader.address if leader is not None and is_other else "",
            members=[info.address for info in (*configuration.voters, *configuration.learners)],
        )


class _CommandWaiter:
    """Waits for one command (`replica.Waiter`)."""

    __slots__ = ("_desk", "_number")

    def __init__(self, desk: _Desk, number: int) -> None:
        self._desk = desk
        self._number = number

    def complete(self, result: object) -> None:
        """Answer with the result, if it travels."""
        try:
            encoded = encode_value(result)
        except TypeError as error:
            self.fail(ResultLost(f"the command was applied, but its result is lost: {error}"))
            return
        if len(encoded) > MAX_ANSWER_BYTES:
            self.fail(ResultLost(f"the command was applied, but its result of {len(encoded)} bytes does not travel"))
        else:
            self._desk.answer(self._number, encoded)

    def fail(self, error: RaftSwarmError) -> None:
        """Answer with the error."""
        self._desk.fail(self._number, error)


class _QuestionsWaiter:
    """Waits for the read barrier of a frame of questions, and asks them all then."""

    def __init__(self, desk: _Desk, first: int, questions: list[bytes]) -> None:
        self._desk = desk
        self._first = first
        self._questions = questions

    def complete(self, result: object) -> None:
        """The machine here is up to date."""
        del result
        for number, question in enumerate(self._questions, self._first):
            try:
                encoded = self._desk.ask_machine(question)
            except RaftSwarmError as error:
                self._desk.fail(number, error)
            else:
                self._desk.answer(number, encoded)

    def fail(self, error: RaftSwarmError) -> None:
        """No leader was reached."""
        for number in range(self._first, self._first + len(self._questions)):
            self._desk.fail(number, error)
