"""What a client sends, and sends again: each command of a session is applied once and in order (D 6.3)."""

from __future__ import annotations

from itertools import count

import attrs
import pytest

from raftswarm.consensus.requests import MAX_UNANSWERED, Conversation, PlainQueue, Request, SessionQueue
from raftswarm.errors import (
    NotLeader,
    OutcomeUnknown,
    OutOfOrder,
    Overloaded,
    RaftSwarmError,
    Rejected,
    SessionExpired,
    SessionFull,
)
from raftswarm.wire.client_codec import Answers, Commands, Failures, Questions, decode_from_client
from raftswarm.wire.envelopes import (
    CloseSession,
    KeepAlive,
    OpenSession,
    SessionCommand,
    SessionRequest,
    decode_session_request,
    encode_plain,
)
from raftswarm.wire.failures import encode_failure


@attrs.define
class Notes:
    """A caller that writes down what it is told."""

    outcomes: dict[int, object] = attrs.field(factory=dict)
    is_over: bool = False

    def settle(self, place: int, outcome: object) -> None:
        assert place not in self.outcomes, "told twice"
        self.outcomes[place] = outcome


class Desk:
    """A client's queues, and the other end of its link."""

    def __init__(self, commands: SessionQueue | PlainQueue | None = None) -> None:
        nonces = count(1)
        self.commands = commands or SessionQueue(lambda: next(nonces).to_bytes(16, "big"))
        self.questions = PlainQueue(bytes, may_repeat=True)
        self.notes = Notes()
        self.places = count()
        self.dial()

    def dial(self) -> None:
        self.conversation = Conversation(self.commands, self.questions)
        self.sent: list[tuple[int, SessionRequest]] = []

    def redial(self) -> None:
        self.conversation.end()
        self.dial()

    def propose(self, *bodies: bytes) -> None:
        for body in bodies:
            self.commands.add(Request(body, self.notes, next(self.places)))

    def send(self) -> list[SessionRequest]:
        """Send what may go; return it."""
        fresh: list[tuple[int, SessionRequest]] = []
        while (frame := self.conversation.next_frame()) is not None:
            commands = decode_from_client(frame)
            assert isinstance(commands, Commands)
            fresh += enumerate(map(decode_session_request, commands.envelopes), commands.first)
        self.sent += fresh
        return [request for _, request in fresh]

    def send_bodies(self) -> list[bytes]:
        return [request.payload for request in self.send() if isinstance(request, SessionCommand)]

    def answer(self, *results: object) -> None:
        """Answer the oldest requests."""
        numbers = [self.sent.pop(0)[0] for _ in results]
        self.conversation.take(Answers(numbers, list(results)))

    def fail(self, *errors: RaftSwarmError) -> None:
        """Refuse the oldest requests."""
        numbers = [self.sent.pop(0)[0] for _ in errors]
        self.conversation.take(Failures(numbers, [encode_failure(error) for error in errors]))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def open_desk(desk: Desk) -> Desk:
    """In session 7, with one command answered."""
    desk.propose(b"first")
    desk.send()
    desk.answer(7)
    desk.send()
    desk.answer("done")
    return desk


def test_a_session_is_opened_before_the_first_command(desk: Desk) -> None:
    assert desk.send() == []
    desk.propose(b"a", b"b")

    assert desk.send() == [OpenSession((1).to_bytes(16, "big"))]
    desk.answer(7)
    assert desk.send() == [SessionCommand(7, 1, 0, b"a"), SessionCommand(7, 2, 0, b"b")]
    desk.answer("x", "y")
    assert desk.notes.outcomes == {0: "x", 1: "y"}


def test_a_session_whose_opening_got_lost_is_opened_with_the_same_nonce(desk: Desk) -> None:
    desk.propose(b"a")
    [opening] = desk.send()

    desk.redial()
    assert desk.send() == [opening]
    desk.fail(NotLeader())
    assert desk.send() == [opening]


def test_answers_are_acknowledged_by_later_commands(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.answer(1, 2)
    open_desk.propose(b"c")

    assert open_desk.send() == [SessionCommand(7, 4, 3, b"c")]


def test_an_answer_after_a_gap_is_not_acknowledged(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.conversation.take(Answers([open_desk.sent[1][0]], [2]))
    open_desk.propose(b"c")

    assert open_desk.send() == [SessionCommand(7, 4, 1, b"c")]


def test_what_has_no_answer_is_sent_again_in_order_on_the_next_link(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b", b"c")
    open_desk.send()
    open_desk.answer("done")

    open_desk.redial()
    open_desk.propose(b"d")
    assert open_desk.send_bodies() == [b"b", b"c", b"d"]


@pytest.mark.parametrize("error", [NotLeader(), Overloaded(), OutOfOrder(), SessionFull(), OutcomeUnknown()])
def test_after_a_passing_refusal_it_waits_for_all_answers_and_goes_back(open_desk: Desk, error: RaftSwarmError) -> None:
    open_desk.propose(b"a", b"b", b"c")
    open_desk.send()
    open_desk.fail(error)
    open_desk.propose(b"d")

    assert open_desk.send() == []
    assert open_desk.conversation.should_pause
    open_desk.fail(OutOfOrder(), OutOfOrder())
    assert open_desk.send_bodies() == [b"a", b"b", b"c", b"d"]
    assert open_desk.notes.outcomes == {0: "done"}


def test_a_rejection_is_an_answer(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.fail(Rejected("no"))
    open_desk.answer("yes")

    open_desk.redial()
    assert open_desk.send() == []
    assert isinstance(open_desk.notes.outcomes[1], Rejected)


def test_no_more_is_sent_than_a_session_may_leave_unacknowledged(open_desk: Desk) -> None:
    open_desk.propose(*[b"x"] * (MAX_UNANSWERED + 10))

    assert len(open_desk.send()) == MAX_UNANSWERED
    open_desk.answer(*range(3))
    assert len(open_desk.send()) == 3


def test_commands_that_nobody_waits_for_any_more_are_dropped_or_resolved(open_desk: Desk) -> None:
    open_desk.propose(b"a")
    open_desk.send()
    open_desk.propose(b"b")
    open_desk.notes.is_over = True

    assert open_desk.send() == [], "what was not sent is not sent any more"
    open_desk.redial()
    assert open_desk.send_bodies() == [b"a"], "what was sent has its number, and later ones build on it"


def test_of_an_expired_session_it_is_known_that_what_was_sent_once_was_not_applied(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.fail(SessionExpired(), SessionExpired())
    open_desk.propose(b"c")

    assert [type(open_desk.notes.outcomes[place]) for place in (1, 2)] == [SessionExpired, SessionExpired]
    assert open_desk.send() == [OpenSession((2).to_bytes(16, "big"))]
    open_desk.answer(9)
    assert open_desk.send() == [SessionCommand(9, 1, 0, b"c")]


def test_of_an_expired_session_nothing_is_known_of_what_was_sent_twice(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.redial()
    open_desk.send()
    open_desk.fail(SessionExpired())

    assert isinstance(open_desk.notes.outcomes[1], OutcomeUnknown)
    open_desk.redial()
    assert isinstance(open_desk.notes.outcomes[2], OutcomeUnknown)
    assert open_desk.send() == [], "nothing of it is sent in another session"


def test_what_came_back_before_the_session_expired_is_told_too(open_desk: Desk) -> None:
    open_desk.propose(b"a", b"b")
    open_desk.send()
    open_desk.fail(NotLeader(), SessionExpired())

    assert isinstance(open_desk.notes.outcomes[1], OutcomeUnknown)
    assert isinstance(open_desk.notes.outcomes[2], SessionExpired)


def test_an_idle_session_is_kept_alive_and_acknowledges(open_desk: Desk) -> None:
    open_desk.commands.keep_alive()

    assert open_desk.send() == [KeepAlive(7, 1)]
    open_desk.answer(None)
    open_desk.commands.keep_alive()
    open_desk.send()
    open_desk.fail(SessionExpired())
    open_desk.propose(b"a")
    assert isinstance(open_desk.send()[0], OpenSession)


def test_the_last_word_closes_the_session(desk: Desk) -> None:
    assert desk.conversation.last_frame() is None
    desk.propose(b"a")
    desk.send()
    desk.answer(7)

    frame = desk.conversation.last_frame()
    assert frame is not None
    farewell = decode_from_client(frame)
    assert isinstance(farewell, Commands)
    assert decode_session_request(farewell.envelopes[0]) == CloseSession(7)


def test_answers_that_come_twice_or_to_nothing_are_dropped(open_desk: Desk) -> None:
    open_desk.propose(b"a")
    open_desk.send()
    [(number, _)] = open_desk.sent

    open_desk.conversation.take(Answers([number, number, 99], [1, 2, 3]))
    open_desk.conversation.take(Failures([number], [encode_failure(NotLeader())]))
    assert open_desk.notes.outcomes == {0: "done", 1: 1}


# Without a session.


@pytest.fixture
def plain_desk() -> Desk:
    return Desk(commands=PlainQueue(encode_plain, may_repeat=False))


def next_numbers(desk: Desk) -> list[int]:
    frame = desk.conversation.next_frame()
    if frame is None:
        return []
    match decode_from_client(frame):
        case Commands(first, bodies) | Questions(first, bodies):
            return list(range(first, first + len(bodies)))
        case other:
            raise AssertionError(other)


def test_a_plain_command_is_sent_again_only_if_nothing_can_have_happened(plain_desk: Desk) -> None:
    plain_desk.propose(b"a", b"b", b"c")
    assert next_numbers(plain_desk) == [1, 2, 3]

    errors = [encode_failure(error) for error in (NotLeader(), OutcomeUnknown(), Overloaded())]
    plain_desk.conversation.take(Failures([1, 2, 3], errors))
    assert isinstance(plain_desk.notes.outcomes[1], OutcomeUnknown)
    assert next_numbers(plain_desk) == [4, 5]
    plain_desk.redial()
    assert isinstance(plain_desk.notes.outcomes[0], OutcomeUnknown)
    assert next_numbers(plain_desk) == []


def test_a_question_is_asked_until_it_is_answered(desk: Desk) -> None:
    desk.questions.add(Request(b"?", desk.notes))
    assert next_numbers(desk) == [1]
    desk.conversation.take(Failures([1], [encode_failure(NotLeader())]))
    assert next_numbers(desk) == [2]
    desk.redial()
    assert next_numbers(desk) == [1]
    desk.conversation.take(Answers([1], ["!"]))

    assert desk.notes.outcomes == {0: "!"}
