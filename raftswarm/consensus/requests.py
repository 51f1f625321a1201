"""What a client has asked for and not been answered yet: what goes out next, and what again.

The one big idea: a session goes back (6.3). Its commands are numbered and applied in that order, each once; so when
one of them got lost or was refused for the moment, its queue waits until all that is on its way has been answered, and
sends everything that still has no result once more, in order. What was applied is answered from memory.

No I/O and no clock: `client` carries the frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
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
    FRAME_PARTS,
    Answers,
    Commands,
    Failures,
    Questions,
    encode_from_client,
)
from raftswarm.wire.envelopes import encode_close, encode_command, encode_keep_alive, encode_open
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import decode_failure

MAX_UNANSWERED: Final = 4096
"""Requests on their way at a time: a session may leave as many answers unacknowledged (`SessionLimits`)."""

PASSING: Final = (NotLeader, OutcomeUnknown, Overloaded, OutOfOrder, SessionFull)
"""Errors after which a command of a session is sent again."""


class Call(Protocol):
    """Whoever waits for the outcomes of some requests."""

    @property
    def is_over(self) -> bool:
        """Tell whether nobody waits any more."""
        ...

    def settle(self, place: int, outcome: object) -> None:
        """Take the outcome of the request at that place: a result, or the error."""
        ...


@attrs.define(eq=False)
class Request:
    """A command or a question."""

    body: bytes
    call: Call
    place: int = 0
    times_sent: int = 0
    session: int = 0
    """Which one it has its number in; 0 as long as it has none."""
    sequence: int = 0
    is_on_its_way: bool = False
    is_done: bool = False

    def settle(self, outcome: object) -> None:
        """Tell whoever waits."""
        self.call.settle(self.place, outcome)


class Queue(Protocol):
    """Requests of one kind."""

    def add(self, request: Request) -> None:
        """Send it when its turn comes."""
        ...

    def take(self) -> tuple[Request, bytes] | None:
        """Return what goes out next, and as what; None if nothing may."""
        ...

    def complete(self, request: Request, result: object) -> None:
        """It was answered."""
        ...

    def fail(self, request: Request, error: RaftSwarmError) -> bool:
        """It failed; True if it, or another one, is to be tried again in a moment."""
        ...

    def lose(self, request: Request) -> None:
        """The link on which it was sent broke before it was answered."""
        ...

    def keep_alive(self) -> None:
        """Now and then: whatever the cluster keeps for this queue is still wanted."""
        ...

    def say_farewell(self) -> bytes | None:
        """Return the command that ends what the cluster keeps for this queue, if it keeps anything."""
        ...


class PlainQueue:
    """Requests that know nothing of each other: questions, and commands outside of sessions."""

    def __init__(self, encode: Callable[[bytes], bytes], *, may_repeat: bool) -> None:
        """With `may_repeat`, it does no harm if one of them is served twice."""
        self._encode = encode
        self._may_repeat = may_repeat
        self._waiting: deque[Request] = deque()
        self._passing = (NotLeader, Overloaded, OutcomeUnknown) if may_repeat else (NotLeader, Overloaded)

    def add(self, request: Request) -> None:
        """Send it when its turn comes."""
        self._waiting.append(request)

    def take(self) -> tuple[Request, bytes] | None:
        """Return what goes out next; who has gone away is forgotten."""
        while self._waiting:
            request = self._waiting.popleft()
            if not request.call.is_over:
                request.times_sent += 1
                return request, self._encode(request.body)
        return None

    def complete(self, request: Request, result: object) -> None:
        """Pass the answer on."""
        request.settle(result)

    def fail(self, request: Request, error: RaftSwarmError) -> bool:
        """Pass the error on, or try again if nothing has happened."""
        if not isinstance(error, self._passing):
            request.settle(error)
            return False
        request.times_sent -= 1
        self._waiting.append(request)
        return True

    def lose(self, request: Request) -> None:
        """Try again what may be; of the rest nobody knows."""
        if self._may_repeat:
            self._waiting.append(request)
        else:
            request.settle(OutcomeUnknown("the link broke before the answer came; the command may be applied"))

    def keep_alive(self) -> None:
        """Nothing is kept."""

    def say_farewell(self) -> None:
        """Nothing is kept."""


class _Nobody:
    """Waits for what the queue itself asks for."""

    is_over = False

    def settle(self, place: int, outcome: object) -> None:
        """Ignore it: the queue has seen it."""


class SessionQueue:
    """Commands that take effect once each, in the order in which they were asked for."""

    def __init__(self, draw_nonce: Callable[[], bytes]) -> None:
        """`draw_nonce` gives 16 bytes that no other client draws."""
        self._draw_nonce = draw_nonce
        self._waiting: deque[Request] = deque()
        """Without a number yet."""
        self._numbered: deque[Request] = deque()
        """Of the present session, in order; the first of them has no result yet."""
        self._again: deque[Request] = deque()
        """Those of the numbered that go out once more, before anything else."""
        self._on_their_way = 0
        self._goes_back = False
        self._session = 0
        self._opening: Request | None = None
        self._keeping: Request | None = None
        self._answered = 0
        self._last = 0

    def add(self, request: Request) -> None:
        """Give it the next number when its turn comes."""
        self._waiting.append(request)

    def take(self) -> tuple[Request, bytes] | None:
        """Return what goes out next; first of all a session is opened."""
        taken = None if self._goes_back else self._next()
        if taken is not None:
            taken[0].times_sent += 1
            taken[0].is_on_its_way = True
            self._on_their_way += 1
        return taken

    def _next(self) -> tuple[Request, bytes] | None:
        if not self._session:
            return self._open_session()
        if self._keeping is not None and not self._keeping.times_sent:
            return self._keeping, encode_keep_alive(self._session, self._answered)
        if self._again:
            request = self._again.popleft()
        elif self._has_waiting():
            request = self._waiting.popleft()
            self._last += 1
            request.session, request.sequence = self._session, self._last
            self._numbered.append(request)
        else:
            return None
        return request, encode_command(self._session, request.sequence, self._answered, request.body)

    def _has_waiting(self) -> bool:
        while self._waiting and self._waiting[0].call.is_over:
            self._waiting.popleft()
        return bool(self._waiting)

    def _open_session(self) -> tuple[Request, bytes] | None:
        if self._opening is None:
            if not self._has_waiting():
                return None
            self._opening = Request(self._draw_nonce(), _Nobody())
        elif self._on_their_way:
            return None
        return self._opening, encode_open(self._opening.body)

    def keep_alive(self) -> None:
        """Let the session not expire for want of commands."""
        if self._session and self._keeping is None and not self._numbered:
            self._keeping = Request(b"", _Nobody(), session=self._session)

    def say_farewell(self) -> bytes | None:
        """End the session, if there is one."""
        return encode_close(self._session) if self._session else None

    def complete(self, request: Request, result: object) -> None:
        """Pass the answer on; later commands acknowledge it."""
        self._has_come_back(request)
        if request is self._opening:
            self._opening = None
            if not isinstance(result, int) or result <= 0:
                raise WireError(f"{result!r} cannot be a session")
            self._session = result
        elif request is self._keeping:
            self._keeping = None
        else:
            self._settle(request)
            request.settle(result)
        self._go_back_if_due()

    def fail(self, request: Request, error: RaftSwarmError) -> bool:
        """Pass the error on, or go back."""
        self._has_come_back(request)
        if isinstance(error, SessionExpired) and request is not self._opening:
            self._expire(request, error)
        elif request.session not in {0, self._session}:
            request.settle(_lost_with_session())
        elif isinstance(error, PASSING):
            self._goes_back = True
        elif request is self._opening:
            self._opening = None
            self._fail_waiting(error)
        else:
            self._settle(request)
            request.settle(error)
        goes_back = self._goes_back
        self._go_back_if_due()
        return goes_back

    def lose(self, request: Request) -> None:
        """Go back; what is applied will be answered from memory."""
        self.fail(request, OutcomeUnknown("the link broke before the answer came"))

    def _has_come_back(self, request: Request) -> None:
        request.is_on_its_way = False
        self._on_their_way -= 1

    def _settle(self, request: Request) -> None:
        request.is_done = True
        while self._numbered and self._numbered[0].is_done:
            self._answered = self._numbered.popleft().sequence

    def _go_back_if_due(self) -> None:
        if self._goes_back and not self._on_their_way:
            self._goes_back = False
            self._keeping = None
            self._again = deque(request for request in self._numbered if not request.is_done)

    def _expire(self, request: Request, error: RaftSwarmError) -> None:
        """The session is gone. What was sent once and refused for that was not applied; of the rest nobody knows."""
        request.settle(error if request.times_sent == 1 else _lost_with_session())
        if request.session != self._session:
            return
        for other in self._numbered:
            if not (other is request or other.is_on_its_way or other.is_done):
                other.settle(_lost_with_session())
        self._again.clear()
        self._numbered.clear()
        self._keeping = None
        self._session = self._answered = self._last = 0

    def _fail_waiting(self, error: RaftSwarmError) -> None:
        while self._waiting:
            self._waiting.popleft().settle(error)


def _lost_with_session() -> OutcomeUnknown:
    return OutcomeUnknown("the session ended before the answer came; the command may have been applied")


class Conversation:
    """What was asked on one link."""

    def __init__(self, commands: Queue, questions: Queue) -> None:
        self._commands = commands
        self._questions = questions
        self._next_number = 1
        self._asked: dict[int, tuple[Queue, Request]] = {}
        self.should_pause = False
        """Something was refused for the moment: to ask again at once would not help."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether answers are due."""
        return bool(self._asked)

    def next_frame(self) -> bytes | None:
        """Return the next frame to send, as full as may be; None if there is nothing to say."""
        first = self._next_number
        if envelopes := list(self._gather(self._commands)):
            return encode_from_client(Commands(first, envelopes))
        if questions := list(self._gather(self._questions)):
            return encode_from_client(Questions(first, questions))
        return None

    def _gather(self, queue: Queue) -> Iterator[bytes]:
        size = 0
        room = MAX_UNANSWERED - len(self._asked)
        for request, body in islice(iter(queue.take, None), min(FRAME_PARTS, room)):
            self._asked[self._next_number] = queue, request
            self._next_number += 1
            yield body
            size += len(body)
            if size >= FRAME_BYTES:
                return

    def take(self, frame: Answers | Failures) -> None:
        """Give the answers to who waits for them; those that nobody waits for are dropped."""
        match frame:
            case Answers(numbers, results):
                for number, result in zip(numbers, results, strict=False):
                    if (asked := self._asked.pop(number, None)) is not None:
                        asked[0].complete(asked[1], result)
            case Failures(numbers, errors):
                for number, error in zip(numbers, errors, strict=False):
                    if (asked := self._asked.pop(number, None)) is not None:
                        self.should_pause |= asked[0].fail(asked[1], decode_failure(error))

    def last_frame(self) -> bytes | None:
        """Return what to say before hanging up for good."""
        farewell = self._commands.say_farewell()
        return encode_from_client(Commands(self._next_number, [farewell])) if farewell is not None else None

    def end(self) -> None:
        """The link is gone."""
        asked, self._asked = self._asked, {}
        for queue, request in asked.values():
            queue.lose(request)
