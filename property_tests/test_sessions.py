"""Sessions are exactly-once: for any duplicates, reorderings, snapshots and expiry, on every replica (D 6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.errors import OutOfOrder, Rejected, ResultLost, SessionExpired, SessionFull
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.envelopes import encode_close, encode_command, encode_keep_alive, encode_open

LIMITS: Final = SessionLimits(sessions=3, idle_seconds=20, answers=3, answer_bytes=40, all_answer_bytes=70)
CLIENTS: Final = 4


class Journal:
    """Writes down what was applied; some commands are refused, some answer what does not travel."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, int]] = []

    def apply(self, command: bytes, _context: Context) -> object:
        client, life, sequence = msgspec.msgpack.decode(command, type=tuple[str, int, int])
        if sequence % 5 == 0:
            raise Rejected(f"not {sequence}")
        self.lines.append((client, life, sequence))
        return {sequence} if sequence % 7 == 0 else f"{client} {sequence} as line {len(self.lines)}"

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.lines))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.lines = msgspec.msgpack.decode(b"".join(chunks), type=list[tuple[str, int, int]])


@attrs.define
class Client:
    """Numbers its commands, and may send any of them again at any time."""

    name: str
    life: int = 0
    session: int = 0
    sent: int = 0
    answered: int = 0
    answers: dict[int, object] = attrs.field(factory=dict)


@attrs.frozen
class Step:
    client: int
    kind: str
    choice: int
    seconds: int
    restarts: int
    """Which replicas go on from a snapshot before this step, by bits."""


steps = st.builds(
    Step,
    st.integers(0, CLIENTS - 1),
    st.sampled_from(["new", "new", "new", "again", "again", "skip", "keep", "close", "open"]),
    st.integers(0, 9),
    st.sampled_from([0, 0, 0, 1, 7, 25]),
    st.sampled_from([0, 0, 0, 1, 2, 3]),
)


class Replicas:
    def __init__(self) -> None:
        self.journals = [Journal(), Journal(), Journal()]
        self.machines = [SessionMachine(journal, LIMITS) for journal in self.journals]
        self.number = 0
        self.now_ns = 0

    def restart(self, which: int) -> None:
        chunks = list(self.machines[which].capture().chunks())
        self.journals[which] = Journal()
        self.machines[which] = SessionMachine(self.journals[which], LIMITS)
        self.machines[which].restore(chunks)

    def apply(self, envelope: bytes, seconds: int) -> object:
        """Apply one command everywhere; the third replica never restarts."""
        self.number += 1
        self.now_ns += seconds * 1_000_000_000 + 1
        context = Context(command_number=self.number, time_ns=self.now_ns, index=self.number, term=1)
        outcomes = [self._outcome(machine, envelope, context) for machine in self.machines]
        assert outcomes[0] == outcomes[1] == outcomes[2]
        states = [list(machine.capture().chunks()) for machine in self.machines]
        assert states[0] == states[1] == states[2]
        return outcomes[2]

    @staticmethod
    def _outcome(machine: SessionMachine, envelope: bytes, context: Context) -> object:
        try:
            result = machine.apply(envelope, context)
        except (Rejected, ResultLost) as error:
            return type(error), error.message
        return result


@given(st.lists(steps, max_size=60))
def test_each_command_of_a_session_takes_effect_once_in_order_and_is_always_answered_alike(plan: list[Step]) -> None:
    replicas = Replicas()
    clients = [Client(str(number)) for number in range(CLIENTS)]
    for step in plan:
        for which in range(2):
            if step.restarts >> which & 1:
                replicas.restart(which)
        _take(step, clients[step.client], replicas)

    lines = replicas.journals[2].lines
    assert len(set(lines)) == len(lines), "applied twice"
    for client in clients:
        for life in range(client.life + 1):
            numbers = [sequence for name, its_life, sequence in lines if (name, its_life) == (client.name, life)]
            assert numbers == sorted(numbers), "applied out of order"
            if numbers:
                assert numbers == [number for number in range(1, numbers[-1] + 1) if number % 5], "applied with a gap"


def _take(step: Step, client: Client, replicas: Replicas) -> None:
    if not client.session or step.kind == "open":
        _open(step, client, replicas)
    elif step.kind == "close":
        assert replicas.apply(encode_close(client.session), step.seconds) is None
        _begin_life(client)
    elif step.kind == "keep":
        outcome = replicas.apply(encode_keep_alive(client.session, client.answered), step.seconds)
        if _is_end(outcome):
            _begin_life(client)
    else:
        _send(step, client, replicas)


def _open(step: Step, client: Client, replicas: Replicas) -> None:
    nonce = f"{client.name}:{client.life}".encode().ljust(16)
    session = replicas.apply(encode_open(nonce), step.seconds)
    assert isinstance(session, int)
    if client.session not in (0, session):  # It had expired: this is another session.
        _begin_life(client)
        nonce = f"{client.name}:{client.life}".encode().ljust(16)
        session = replicas.apply(encode_open(nonce), 0)
        assert isinstance(session, int)
    client.session = session


def _send(step: Step, client: Client, replicas: Replicas) -> None:
    sequence = {
        "new": client.sent + 1,
        "skip": client.sent + 2 + step.choice,
        "again": max(1, client.sent - step.choice),
    }[step.kind]
    answered = client.answered if step.choice % 2 else 0
    payload = msgspec.msgpack.encode((client.name, client.life, sequence))
    outcome = replicas.apply(encode_command(client.session, sequence, answered, payload), step.seconds)
    if _is_end(outcome):
        _begin_life(client)
    elif isinstance(outcome, tuple) and outcome[0] is OutOfOrder:
        assert sequence > client.sent + 1
    elif isinstance(outcome, tuple) and outcome[0] is SessionFull:
        client.answered = client.sent  # Whatever was sent was answered: so it says, with what comes next.
    elif sequence <= client.sent:
        was_acknowledged = isinstance(outcome, tuple) and "acknowledged" in str(outcome[1])
        assert was_acknowledged or outcome == client.answers[sequence]
    else:
        assert sequence == client.sent + 1
        client.sent = sequence
        client.answers[sequence] = outcome
        client.answered = max(client.answered, sequence - 1 - step.choice % 3)


def _is_end(outcome: object) -> bool:
    return isinstance(outcome, tuple) and outcome[0] is SessionExpired


def _begin_life(client: Client) -> None:
    """A new session: its commands are others than those of the session before."""
    client.life += 1
    client.session = client.sent = client.answered = 0
    client.answers.clear()
