"""Sessions are exactly-once: for any duplicates, reorderings, snapshots and expiry, on every replica (D 6.3).

The model is a list of answers for each session. What a table keeps of it, and finds again, is compared with that after
every command, on replicas that go on from snapshots and on one that never does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

import attrs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.errors import OutOfOrder, RaftSwarmError, Rejected, ResultLost, SessionExpired, SessionFull
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.envelopes import encode_close, encode_command, encode_keep_alive, encode_open
from raftswarm.wire.values import encode_value

LIMITS: Final = SessionLimits(sessions=3, idle_seconds=20, answers=4, answer_bytes=60, all_answer_bytes=110)
CLIENTS: Final = 4
SECOND: Final = 1_000_000_000

Line = tuple[int, int, int]
"""Whose command, in which session, and its number there."""


class Journal:
    """Writes down what was applied; some commands are refused, some answer what does not travel."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def apply(self, command: bytes, _context: Context) -> object:
        line = msgspec.msgpack.decode(command, type=Line)
        sequence = line[2]
        if sequence % 5 == 0:
            raise Rejected(f"not {sequence}")
        self.lines.append(line)
        return {sequence} if sequence % 7 == 0 else f"line {len(self.lines)}"

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.lines))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.lines = msgspec.msgpack.decode(b"".join(chunks), type=list[Line])


@attrs.frozen
class Failure:
    """How a command failed."""

    kind: type[RaftSwarmError]
    message: str


class Replicas:
    """Three that apply the same commands; the third is never restored."""

    def __init__(self) -> None:
        self.journals = [Journal(), Journal(), Journal()]
        self.machines = [SessionMachine(journal, LIMITS) for journal in self.journals]
        self.number = 0
        self.now_ns = 0

    def restart(self, which: int) -> None:
        """The first is started anew with a snapshot, the second is sent one while it runs."""
        chunks = list(self.machines[which].capture().chunks())
        if which:
            self.machines[which].restore(chunks)
        else:
            self.journals[which] = Journal()
            self.machines[which] = SessionMachine(self.journals[which], LIMITS)
            self.machines[which].prepare_restore(chunks)()

    def apply(self, envelope: bytes, seconds: int) -> object:
        """Apply one command everywhere."""
        self.number += 1
        self.now_ns += seconds * SECOND + 1
        context = Context(command_number=self.number, time_ns=self.now_ns, index=self.number, term=1)
        outcomes = [self._outcome(machine, envelope, context) for machine in self.machines]
        assert outcomes[0] == outcomes[1] == outcomes[2]
        states = [list(machine.capture().chunks()) for machine in self.machines]
        assert states[0] == states[1] == states[2]
        return outcomes[2]

    @staticmethod
    def _outcome(machine: SessionMachine, envelope: bytes, context: Context) -> object:
        try:
            return machine.apply(envelope, context)
        except (Rejected, ResultLost) as error:
            return Failure(type(error), error.message)


@attrs.define
class Session:
    """All that its commands were answered, first to last."""

    nonce: bytes
    used_ns: int
    answers: list[object] = attrs.field(factory=list)
    acknowledged: int = 0

    @property
    def kept(self) -> Sequence[object]:
        return self.answers[self.acknowledged :]

    @property
    def kept_bytes(self) -> int:
        return sum(map(_weigh, self.kept))


def _weigh(answer: object) -> int:
    """How many bytes an answer has in a table: a kind, and a value."""
    value = answer
    if isinstance(answer, Failure):
        value = answer.message if answer.kind is ResultLost else (answer.kind.__name__, answer.message)
    return 1 + len(encode_value(value))


@attrs.frozen
class Sent:
    """A command of a session as it went out; copies of it may come at any time."""

    session: int
    sequence: int
    answered: int
    line: Line

    def encode(self) -> bytes:
        return encode_command(self.session, self.sequence, self.answered, msgspec.msgpack.encode(self.line))


class Model:
    """Says what every command is to be answered, and does what was to be done."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        """The least recently used first."""
        self.had: set[int] = set()
        self.journal = Journal()

    def expire(self, now_ns: int) -> None:
        latest_ns = now_ns - LIMITS.idle_seconds * SECOND
        for name in [name for name, session in self.sessions.items() if session.used_ns < latest_ns]:
            del self.sessions[name]

    def use(self, name: int, now_ns: int) -> Session | None:
        session = self.sessions.pop(name, None)
        if session is not None:
            session.used_ns = now_ns
            self.sessions[name] = session
        return session

    def _forget_oldest(self) -> None:
        del self.sessions[next(iter(self.sessions))]

    def check_opened(self, nonce: bytes, now_ns: int, outcome: object) -> None:
        for name, session in self.sessions.items():
            if session.nonce == nonce:
                assert outcome == name, "it is open already"
                self.use(name, now_ns)
                return
        assert isinstance(outcome, int)
        assert outcome not in self.had, "another session's name"
        while len(self.sessions) >= LIMITS.sessions:
            self._forget_oldest()
        self.sessions[outcome] = Session(nonce, now_ns)
        self.had.add(outcome)

    def check_kept_alive(self, name: int, answered: int, now_ns: int, outcome: object) -> None:
        session = self.use(name, now_ns)
        if session is None:
            _expect(outcome, SessionExpired)
        else:
            assert outcome is None
            session.acknowledged = max(session.acknowledged, answered)

    def check_command(self, sent: Sent, now_ns: int, outcome: object) -> None:
        session = self.use(sent.session, now_ns)
        if session is None:
            _expect(outcome, SessionExpired)
            return
        session.acknowledged = max(session.acknowledged, sent.answered)
        last = len(session.answers)
        if sent.sequence <= session.acknowledged:
            _expect(outcome, Rejected)
        elif sent.sequence <= last:
            assert outcome == session.answers[sent.sequence - 1], "answered otherwise than before"
        elif sent.sequence > last + 1:
            _expect(outcome, OutOfOrder)
        elif len(session.kept) >= LIMITS.answers or session.kept_bytes >= LIMITS.answer_bytes:
            _expect(outcome, SessionFull)
        else:
            self._check_applied(session, sent, outcome)

    def _check_applied(self, session: Session, sent: Sent, outcome: object) -> None:
        expected = _apply(self.journal, sent)
        if isinstance(expected, set):
            _expect(outcome, ResultLost)  # It does not travel.
        else:
            assert outcome == expected
        session.answers.append(outcome)
        while (
            len(self.sessions) > 1 and sum(one.kept_bytes for one in self.sessions.values()) > LIMITS.all_answer_bytes
        ):
            self._forget_oldest()


def _apply(journal: Journal, sent: Sent) -> object:
    try:
        result = journal.apply(msgspec.msgpack.encode(sent.line), Context(0, 0, 0, 0))
    except Rejected as error:
        return Failure(Rejected, error.message)
    return result


def _expect(outcome: object, kind: type[RaftSwarmError]) -> None:
    assert isinstance(outcome, Failure)
    assert outcome.kind is kind, outcome.message


@attrs.frozen
class Step:
    client: int
    kind: str
    choice: int
    answered: int
    """How many of the answers that there are the client says not to have."""
    seconds: int
    restarts: int
    """Which replicas go on from a snapshot before this step, by bits."""


KINDS = ("next", "next", "next", "next", "again", "skip", "late", "late", "keep", "close", "open")


def draw_step(chance: Random) -> Step:
    return Step(
        client=chance.randrange(CLIENTS),
        kind=chance.choice(KINDS),
        choice=chance.randrange(10),
        answered=chance.choice([0, 3, 9, 9, 9]),
        seconds=chance.choice([0, 0, 0, 1, 7, LIMITS.idle_seconds]),
        restarts=chance.choice([0, 0, 0, 1, 2, 3]),
    )


class Story:
    """Clients go on with the sessions they have, until they hear that they have none."""

    def __init__(self) -> None:
        self.replicas = Replicas()
        self.model = Model()
        self.names = [0] * CLIENTS
        """Of their sessions; 0 for none."""
        self.nonces = 0
        self.sent: list[Sent] = []

    def take(self, step: Step) -> None:
        for which in range(2):
            if step.restarts >> which & 1:
                self.replicas.restart(which)
        name = self.names[step.client]
        if not name or step.kind == "open":
            self._open(step)
        elif step.kind == "close":
            assert self._apply(encode_close(name), step) is None
            self.model.sessions.pop(name, None)
            self.names[step.client] = 0
        elif step.kind == "keep":
            answered = self._count_answered(name, step)
            outcome = self._apply(encode_keep_alive(name, answered), step)
            self.model.check_kept_alive(name, answered, self.replicas.now_ns, outcome)
        elif step.kind == "late" and self.sent:
            self._send(self.sent[-1 - step.choice % len(self.sent)], step)
        else:
            self._send(self._make_command(name, step), step)
        assert self.replicas.journals[2].lines == self.model.journal.lines

    def _apply(self, envelope: bytes, step: Step) -> object:
        outcome = self.replicas.apply(envelope, step.seconds)
        self.model.expire(self.replicas.now_ns)
        return outcome

    def _open(self, step: Step) -> None:
        """Under a new nonce, or again under one of the last."""
        if not self.names[step.client] or step.choice < 3:
            self.nonces += 1
        nonce = max(1, self.nonces - step.choice // 3).to_bytes(16, "big")
        outcome = self._apply(encode_open(nonce), step)
        self.model.check_opened(nonce, self.replicas.now_ns, outcome)
        assert isinstance(outcome, int)
        self.names[step.client] = outcome

    def _count_answered(self, name: int, step: Step) -> int:
        session = self.model.sessions.get(name)
        return max(0, len(session.answers) - step.answered) if session is not None else 0

    def _make_command(self, name: int, step: Step) -> Sent:
        session = self.model.sessions.get(name)
        last = len(session.answers) if session is not None else step.choice
        sequence = {"next": last + 1, "skip": last + 2 + step.choice}.get(step.kind, max(1, last - step.choice))
        return Sent(name, sequence, self._count_answered(name, step), (step.client, name, sequence))

    def _send(self, sent: Sent, step: Step) -> None:
        self.sent.append(sent)
        outcome = self._apply(sent.encode(), step)
        self.model.check_command(sent, self.replicas.now_ns, outcome)
        if isinstance(outcome, Failure) and outcome.kind is SessionExpired and sent.session == self.names[step.client]:
            self.names[step.client] = 0


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_command_of_a_session_takes_effect_once_in_order_and_is_always_answered_alike(seed: int) -> None:
    chance, story = Random(seed), Story()
    for _ in range(60):
        story.take(draw_step(chance))
