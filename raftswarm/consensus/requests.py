"""What a client has asked for and not been answered yet: what goes out next, and what again.

The one big idea: a session goes back (6.3). Its commands are numbered and applied in that order, each once; so when
one of them got lost or was refused for the moment, its queue waits until all that is on its way has been answered, and
sends everything from the first that has no result once more, in order. What was applied is answered from memory.

The unit is the batch that left as one frame: numbers, acknowledgements and answers are those of batches, and a request
has but its body and whoever waits for it. No I/O and no clock: `client` carries the frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs

from raftswarm.errors import (
    NotLeader,
    OutcomeUnknown,
    OutOfOrder,
    Overloaded,
    RaftSwarmError,
    SessionExpired,
    SessionFull,
)
from raftswarm.wire.client_codec import (
    FRAME_BYTES,
    Answers,
    Commands,
    Failures,
    Questions,
    encode_from_client,
)
from raftswarm.wire.envelopes import encode_close, encode_commands, encode_keep_alive, encode_open
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import decode_failure

MAX_UNANSWERED: Final = 4096
"""Requests on their way at a time: a session may leave as many answers unacknowledged (`SessionLimits`)."""

BATCH_REQUESTS: Final = 512
"""Requests in a frame: their answers wake as many tasks in one pass of the loop."""

PASSING: Final = (NotLeader, OutcomeUnknown, Overloaded, OutOfOrder, SessionFull)
"""Errors after which a command of a session is sent again."""


class Request(ABC):
    """A command or a question; who waits for its outcome says what `settle` does."""

    __slots__ = ("body", "is_done", "is_over", "times_sent")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.times_sent = 0
        self.is_done = False
        """It has its outcome."""
        self.is_over = False
        """Nobody waits for it any more."""

    @abstractmethod
    def settle(self, outcome: object) -> None:
        """Take the outcome: a result, or the error. Told once at most."""


class _Own(Request):
    """What a queue asks for on its own account."""

    __slots__ = ()

    def settle(self, outcome: object) -> None:
        """Ignore it: the queue has seen it."""


@attrs.define(eq=False)
class Batch:
    """Requests that left in one frame."""

    requests: Sequence[Request]
    session: int = 0
    """In which their numbers are consecutive; 0 for none."""
    answered: int = 0
    """How many of them, from the first on, have been answered on the link that they were sent on."""
    is_broken: bool = False
    """One of them has to be sent again."""

    @property
    def missing(self) -> int:
        """How many answers are due."""
        return len(self.requests) - self.answered

    @property
    def is_settled(self) -> bool:
        """Tell whether all of them have their outcomes."""
        return not self.missing and not self.is_broken

    def answer(self, count: int) -> Sequence[Request]:
        """Return the next ones to be answered."""
        begin = self.answered
        self.answered += count
        return self.requests[begin : begin + count]


class Queue(Protocol):
    """Requests of one kind."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether something may be there to send."""
        ...

    def add(self, request: Request) -> None:
        """Send it when its turn comes."""
        ...

    def take(self, room: int) -> tuple[Batch, list[bytes]] | None:
        """Return what goes out next, at most so many, and as what; None if nothing may."""
        ...

    def complete(self, batch: Batch, results: Sequence[object]) -> None:
        """The next ones of the batch were answered."""
        ...

    def fail(self, batch: Batch, error: RaftSwarmError) -> bool:
        """The next one of the batch failed; True if it, or another one, is to be tried again in a moment."""
        ...

    def lose(self, batch: Batch) -> None:
        """The link on which it was sent broke before all of it was answered."""
        ...

    def forget_abandoned(self) -> None:
        """Drop what was not sent and nobody waits for any more."""
        ...

    def keep_alive(self) -> None:
        """Now and then: whatever the cluster keeps for this queue is still wanted."""
        ...

    def say_farewell(self) -> bytes | None:
        """Return the command that ends what the cluster keeps for this queue, if it keeps anything."""
        ...


def _take_together(waiting: deque[Request], room: int, *, keeps_places: bool = False) -> list[Request]:
    """Take what fits a frame; what nobody waits for any more is forgotten, unless others build on it."""
    taken: list[Request] = []
    room = min(room, BATCH_REQUESTS)
    size = 0
    while waiting and len(taken) < room and size < FRAME_BYTES:
        request = waiting.popleft()
        if not request.is_over or keeps_places:
            request.times_sent += 1
            size += len(request.body)
            taken.append(request)
    return taken


def _forget_abandoned(waiting: deque[Request]) -> None:
    while waiting and waiting[0].is_over:
        waiting.popleft()


class PlainQueue:
    """Requests that know nothing of each other: questions, and commands outside of sessions."""

    def __init__(self, encode: Callable[[bytes], bytes], *, may_repeat: bool) -> None:
        """With `may_repeat`, it does no harm if one of them is served twice."""
        self._encode = encode
        self._may_repeat = may_repeat
        self._waiting: deque[Request] = deque()
        self._passing = (NotLeader, Overloaded, OutcomeUnknown) if may_repeat else (NotLeader, Overloaded)

    @property
    def is_waiting(self) -> bool:
        """Tell whether something may be there to send."""
        return bool(self._waiting)

    def add(self, request: Request) -> None:
        """Send it when its turn comes."""
        self._waiting.append(request)

    def take(self, room: int) -> tuple[Batch, list[bytes]] | None:
        """Return what goes out next."""
        requests = _take_together(self._waiting, room)
        return (Batch(requests), [self._encode(request.body) for request in requests]) if requests else None

    def complete(self, batch: Batch, results: Sequence[object]) -> None:
        """Pass the answers on."""
        for request, result in zip(batch.answer(len(results)), results, strict=True):
            request.settle(result)

    def fail(self, batch: Batch, error: RaftSwarmError) -> bool:
        """Pass the error on, or try again if nothing has happened."""
        [request] = batch.answer(1)
        if not isinstance(error, self._passing):
            request.settle(error)
            return False
        request.times_sent -= 1
        self._waiting.append(request)
        return True

    def lose(self, batch: Batch) -> None:
        """Try again what may be; of the rest nobody knows."""
        for request in batch.answer(batch.missing):
            if self._may_repeat:
                self._waiting.append(request)
            else:
                request.settle(OutcomeUnknown("the link broke before the answer came; the command may be applied"))

    def forget_abandoned(self) -> None:
        """Drop what was not sent and nobody waits for any more."""
        _forget_abandoned(self._waiting)

    def keep_alive(self) -> None:
        """Nothing is kept."""

    def say_farewell(self) -> None:
        """Nothing is kept."""


class SessionQueue:
    """Commands that take effect once each, in the order in which they were asked for."""

    def __init__(self, draw_nonce: Callable[[], bytes]) -> None:
        """`draw_nonce` gives 16 bytes that no other client draws."""
        self._draw_nonce = draw_nonce
        self._waiting: deque[Request] = deque()
        """Without a number yet."""
        self._again: deque[Request] = deque()
        """Those that go out once more, with the numbers that they had, before anything else."""
        self._numbered: deque[Batch] = deque()
        """Of the present session, in order, without a gap; the first of them is not settled."""
        self._on_their_way = 0
        self._goes_back = False
        self._session = 0
        self._opening: Request | None = None
        self._keeping: Request | None = None
        self._answered = 0
        """Up to this number all have their outcomes: the cluster may forget them."""
        self._next = 1
        """Number of the next one that goes out."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether something may be there to send."""
        return bool(self._waiting or self._again) or self._keeping is not None

    def add(self, request: Request) -> None:
        """Give it the next number when its turn comes."""
        self._waiting.append(request)

    def take(self, room: int) -> tuple[Batch, list[bytes]] | None:
        """Return what goes out next; first of all a session is opened."""
        if self._goes_back or room <= 0:
            return None
        taken = self._take_commands(room) if self._session else self._open_session()
        if taken is not None:
            self._on_their_way += len(taken[1])
        return taken

    def _take_commands(self, room: int) -> tuple[Batch, list[bytes]] | None:
        if self._keeping is not None and not self._keeping.times_sent:
            return self._ask(self._keeping, encode_keep_alive(self._session, self._answered))
        unacknowledged = self._next - 1 - self._answered
        room = min(room, MAX_UNANSWERED - unacknowledged)
        if self._again:
            requests = _take_together(self._again, room, keeps_places=True)
        else:
            requests = _take_together(self._waiting, room)
        if not requests:
            return None
        bodies = encode_commands(self._session, self._next, self._answered, [request.body for request in requests])
        self._next += len(requests)
        batch = Batch(requests, self._session)
        self._numbered.append(batch)
        return batch, bodies

    def _open_session(self) -> tuple[Batch, list[bytes]] | None:
        if self._opening is None:
            self.forget_abandoned()
            if not self._waiting:
                return None
            self._opening = _Own(self._draw_nonce())
        elif self._on_their_way:
            return None
        return self._ask(self._opening, encode_open(self._opening.body))

    def _ask(self, request: Request, body: bytes) -> tuple[Batch, list[bytes]]:
        request.times_sent += 1
        return Batch([request], self._session), [body]

    def forget_abandoned(self) -> None:
        """Drop what was not sent and nobody waits for any more."""
        _forget_abandoned(self._waiting)

    def keep_alive(self) -> None:
        """Let the session not expire for want of commands."""
        if self._session and self._keeping is None and not self._numbered:
            self._keeping = _Own(b"")

    def say_farewell(self) -> bytes | None:
        """End the session, if there is one."""
        return encode_close(self._session) if self._session else None

    def complete(self, batch: Batch, results: Sequence[object]) -> None:
        """Pass the answers on; later commands acknowledge them."""
        requests = batch.answer(len(results))
        self._on_their_way -= len(requests)
        if requests and isinstance(requests[0], _Own):
            self._complete_own(requests[0], results[0])
        else:
            for request, result in zip(requests, results, strict=True):
                if not request.is_done:
                    request.is_done = True
                    request.settle(result)
            self._acknowledge()
        self._go_back_if_due()

    def _complete_own(self, request: Request, result: object) -> None:
        if request is self._keeping:
            self._keeping = None
        elif request is self._opening:
            self._opening = None
            if not isinstance(result, int) or result <= 0:
                raise WireError(f"{result!r} cannot be a session")
            self._session = result

    def fail(self, batch: Batch, error: RaftSwarmError) -> bool:
        """Pass the error on, or go back."""
        [request] = batch.answer(1)
        self._on_their_way -= 1
        if isinstance(error, SessionExpired) and request is not self._opening:
            self._expire(batch, request, error)
        elif batch.session not in {0, self._session}:
            _settle(request, _lost_with_session())
        elif isinstance(error, PASSING):
            self._goes_back = batch.is_broken = True
        elif request is self._opening:
            self._opening = None
            self._fail_waiting(error)
        elif request is self._keeping:
            self._keeping = None
        else:
            _settle(request, error)
        self._acknowledge()
        goes_back = self._goes_back
        self._go_back_if_due()
        return goes_back

    def lose(self, batch: Batch) -> None:
        """Go back; what is applied will be answered from memory."""
        for _ in range(batch.missing):
            self.fail(batch, OutcomeUnknown("the link broke before the answer came"))

    def _acknowledge(self) -> None:
        while self._numbered and self._numbered[0].is_settled:
            self._answered += len(self._numbered.popleft().requests)

    def _go_back_if_due(self) -> None:
        if not self._goes_back or self._on_their_way:
            return
        self._goes_back = False
        self._keeping = None
        again = deque(request for batch in self._numbered for request in batch.requests)
        again.extend(self._again)
        while again and again[0].is_done:
            again.popleft()
            self._answered += 1
        self._again = again
        self._numbered.clear()
        self._next = self._answered + 1

    def _expire(self, batch: Batch, request: Request, error: RaftSwarmError) -> None:
        """The session is gone. What was sent once and refused for that was not applied; of the rest nobody knows."""
        _settle(request, error if request.times_sent == 1 else _lost_with_session())
        if batch.session != self._session:
            return
        for sent in self._numbered:
            for other in sent.requests[: sent.answered]:
                _settle(other, _lost_with_session())
        for other in self._again:
            _settle(other, _lost_with_session())
        self._again.clear()
        self._numbered.clear()
        self._keeping = None
        self._session = self._answered = 0
        self._next = 1

    def _fail_waiting(self, error: RaftSwarmError) -> None:
        while self._waiting:
            _settle(self._waiting.popleft(), error)


def _settle(request: Request, outcome: object) -> None:
    if not request.is_done:
        request.is_done = True
        request.settle(outcome)


def _lost_with_session() -> OutcomeUnknown:
    return OutcomeUnknown("the session ended before the answer came; the command may have been applied")


class Conversation:
    """What was asked on one link."""

    def __init__(self, commands: Queue, questions: Queue) -> None:
        self._commands = commands
        self._questions = questions
        self._next_number = 1
        self._asked: dict[int, tuple[Queue, Batch]] = {}
        """By the number of the first request of the batch that has no answer yet."""
        self._missing = 0
        self._put_back: bytes | None = None
        self.should_pause = False
        """Something was refused for the moment: to ask again at once would not help."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether answers are due."""
        return bool(self._asked)

    @property
    def has_more(self) -> bool:
        """Tell whether something may be there to say."""
        return self._commands.is_waiting or self._questions.is_waiting

    def put_back(self, frame: bytes) -> None:
        """It could not be sent now: it is the next one."""
        self._put_back = frame

    def next_frame(self) -> bytes | None:
        """Return the next frame to send, as full as may be; None if there is nothing to say."""
        if self._put_back is not None:
            frame, self._put_back = self._put_back, None
            return frame
        if (bodies := self._gather(self._commands)) is not None:
            return encode_from_client(Commands(self._next_number - len(bodies), bodies))
        if (bodies := self._gather(self._questions)) is not None:
            return encode_from_client(Questions(self._next_number - len(bodies), bodies))
        return None

    def _gather(self, queue: Queue) -> list[bytes] | None:
        taken = queue.take(MAX_UNANSWERED - self._missing)
        if taken is None:
            return None
        batch, bodies = taken
        self._asked[self._next_number] = queue, batch
        self._next_number += len(bodies)
        self._missing += len(bodies)
        return bodies

    def take(self, frame: Answers | Failures) -> int:
        """Give the answers to who waits for them; return how many. Those that nobody waits for are dropped."""
        asked = self._asked.pop(frame.first, None)
        if asked is None:
            return 0
        queue, batch = asked
        before = batch.missing
        try:
            self._pass_on(frame, queue, batch)
        finally:
            answered = before - batch.missing
            self._missing -= answered
            if batch.missing:
                self._asked[frame.first + answered] = asked
        return answered

    def _pass_on(self, frame: Answers | Failures, queue: Queue, batch: Batch) -> None:
        match frame:
            case Answers(_, results, failures) if not failures:
                queue.complete(batch, results[: batch.missing])
            case Answers(_, results, failures):
                for place, result in enumerate(results[: batch.missing]):
                    if (error := failures.get(place)) is not None:
                        self._fail(queue, batch, error)
                    else:
                        queue.complete(batch, [result])
            case Failures(_, count, error):
                for _ in range(min(count, batch.missing)):
                    self._fail(queue, batch, error)

    def _fail(self, queue: Queue, batch: Batch, error: bytes) -> None:
        self.should_pause |= queue.fail(batch, decode_failure(error))

    def last_frame(self) -> bytes | None:
        """Return what to say before hanging up for good."""
        farewell = self._commands.say_farewell()
        return encode_from_client(Commands(self._next_number, [farewell])) if farewell is not None else None

    def end(self) -> None:
        """The link is gone."""
        asked, self._asked = self._asked, {}
        for queue, batch in asked.values():
            queue.lose(batch)
