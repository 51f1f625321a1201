"""What a client asks of a cluster that loses, delays and repeats: each command takes effect once, in order (D 6.3).

A client's queue talks with the real table of sessions; between them stands a log that hypothesis treats as badly as
leaders that come and go may. Frames of links that are gone still arrive, answers come in pieces, sessions expire or
make room for others. Whoever is told a result, or that nothing happened, can rely on that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

import attrs
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from raftswarm.consensus.requests import Conversation, PlainQueue, Request, SessionQueue
from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.errors import (
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    RaftSwarmError,
    Rejected,
    SessionExpired,
)
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.client_codec import Answers, Commands, decode_from_client
from raftswarm.wire.envelopes import encode_open
from raftswarm.wire.failures import encode_failure

LIMITS: Final = SessionLimits(sessions=2, idle_seconds=20, answers=6)
CLIENTS: Final = 2
MISSING: Final = object()
MANY_ROUNDS: Final = 1000
"""As many as all that waits may take."""

Name = tuple[int, int]
"""Which client's command, and which of its."""


class Journal:
    """Everything that was applied, in order; some of it is refused."""

    def __init__(self) -> None:
        self.names: list[Name] = []

    def apply(self, command: bytes, _context: Context) -> int:
        name = msgspec.msgpack.decode(command, type=Name)
        if name[1] % 7 == 0:
            raise Rejected("as it was asked to")
        self.names.append(name)
        return len(self.names)

    def capture(self) -> Captured:
        raise AssertionError("nobody asks")

    def restore(self, _chunks: Iterable[bytes]) -> None:
        raise AssertionError("nobody asks")


@attrs.define(eq=False)
class Frame:
    """Commands of a client on their way, and what each of them was answered."""

    commands: Commands
    outcomes: list[object]
    answered: int = 0
    """How many of the outcomes the client has been told."""

    @property
    def known(self) -> list[object]:
        """What the client can be told now: answers of a frame come in its order."""
        rest = self.outcomes[self.answered :]
        return rest[: rest.index(MISSING)] if MISSING in rest else rest


@attrs.frozen
class Appended:
    """A command in the log, and where its outcome is waited for."""

    frame: Frame
    place: int

    def tell(self, outcome: object) -> None:
        if self.frame.outcomes[self.place] is MISSING:
            self.frame.outcomes[self.place] = outcome


class Cluster:
    """A log that is not committed yet, and the machine behind it."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.machine = SessionMachine(self.journal, LIMITS)
        self.log: deque[Appended] = deque()
        self.now_ns = 0
        self._numbers = count(1)

    def take(self, frame: Frame, room: int, refusal: RaftSwarmError) -> None:
        """The first so many of a frame's commands go into the log, the others are refused."""
        for place in range(len(frame.outcomes)):
            if place < room:
                self.log.append(Appended(frame, place))
            else:
                frame.outcomes[place] = refusal

    def commit(self, most: int) -> None:
        for _ in range(min(most, len(self.log))):
            appended = self.log.popleft()
            appended.tell(self.apply(appended.frame.commands.envelopes[appended.place]))

    def apply(self, envelope: bytes) -> object:
        self.now_ns += 1
        context = Context(command_number=next(self._numbers), time_ns=self.now_ns, index=1, term=1)
        try:
            return self.machine.apply(envelope, context)
        except Rejected as error:
            return error

    def change_leaders(self, kept: int) -> None:
        """Nobody is told what becomes of the log; so much of it the next leader has, and commits."""
        for appended in self.log:
            appended.tell(OutcomeUnknown("leadership was lost"))
        while len(self.log) > kept:
            self.log.pop()


class Caller(Request):
    """Waits for one command, and remembers what it is told."""

    def __init__(self, name: Name) -> None:
        super().__init__(msgspec.msgpack.encode(name))
        self.name = name
        self.outcome: object = MISSING

    def settle(self, outcome: object) -> None:
        assert self.outcome is MISSING, "told twice"
        self.outcome = outcome


class Client:
    """A queue of commands, the link that it uses, and those that it used before."""

    def __init__(self, number: int, draw_nonce: Callable[[], bytes]) -> None:
        self.number = number
        self.queue = SessionQueue(draw_nonce)
        self.callers: list[Caller] = []
        self.on_its_way: deque[Frame] = deque()
        """What has not arrived, whatever link it went out on."""
        self._dial()

    def _dial(self) -> None:
        self.conversation = Conversation(self.queue, PlainQueue(bytes, may_repeat=True))
        self.asked: list[Frame] = []
        """What was sent on this link and is not answered."""

    def redial(self) -> None:
        self.conversation.end()
        self._dial()

    def propose(self, size: int) -> None:
        for _ in range(size):
            caller = Caller((self.number, len(self.callers) + 1))
            self.callers.append(caller)
            self.queue.add(caller)

    def send(self) -> bool:
        sent = self.conversation.next_frame()
        if sent is None:
            return False
        commands = decode_from_client(sent)
        assert isinstance(commands, Commands)
        frame = Frame(commands, [MISSING] * len(commands.envelopes))
        self.on_its_way.append(frame)
        self.asked.append(frame)
        return True

    def hear(self, which: int, most: int) -> None:
        """Take some answers of one of the frames that have any."""
        answered = [frame for frame in self.asked if frame.known]
        if answered:
            self._take(answered[which % len(answered)], most)

    def _take(self, frame: Frame, most: int) -> None:
        told = frame.known[:most]
        results = [None if isinstance(outcome, RaftSwarmError) else outcome for outcome in told]
        failures = {
            place: encode_failure(outcome) for place, outcome in enumerate(told) if isinstance(outcome, RaftSwarmError)
        }
        taken = self.conversation.take(Answers(frame.commands.first + frame.answered, results, failures))
        assert taken == len(told)
        frame.answered += taken
        if frame.answered == len(frame.outcomes):
            self.asked.remove(frame)

    def hear_all(self) -> None:
        for frame in list(self.asked):
            if frame.known:
                self._take(frame, len(frame.known))


numbers = st.integers(0, CLIENTS - 1)
REFUSALS = (NotLeader("this member does not lead"), Overloaded("too much waits"), OutcomeUnknown("it is stopping"))


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.nonces = count(1)
        self.cluster = Cluster()
        self.clients = [Client(number, self.draw_nonce) for number in range(CLIENTS)]

    def draw_nonce(self) -> bytes:
        return next(self.nonces).to_bytes(16, "big")

    @rule(number=numbers, size=st.integers(1, 8))
    def propose(self, number: int, size: int) -> None:
        self.clients[number].propose(size)

    @rule(number=numbers)
    def send(self, number: int) -> None:
        self.clients[number].send()

    @rule(number=numbers, size=st.integers(1, 8), most=st.sampled_from([1, 3, 100]))
    def ask_and_be_served(self, number: int, size: int, most: int) -> None:
        client = self.clients[number]
        client.propose(size)
        while client.send():
            self._let_arrive(client)
        self.cluster.commit(most)

    @rule(number=numbers, room=st.sampled_from([100, 100, 100, 0, 1, 3]), refusal=st.sampled_from(REFUSALS))
    def arrive(self, number: int, room: int, refusal: RaftSwarmError) -> None:
        frames = self.clients[number].on_its_way
        if frames:
            self.cluster.take(frames.popleft(), room, refusal)

    @rule(number=numbers)
    def get_lost(self, number: int) -> None:
        """What was under way on the links before this one."""
        client = self.clients[number]
        client.on_its_way = deque(frame for frame in client.on_its_way if frame in client.asked)

    @rule(number=numbers)
    def overtake(self, number: int) -> None:
        """What comes on this link arrives before what is late on others."""
        client = self.clients[number]
        new = [frame for frame in client.on_its_way if frame in client.asked]
        late = [frame for frame in client.on_its_way if frame not in client.asked]
        client.on_its_way = deque(new + late)

    @rule(most=st.sampled_from([1, 2, 5, 100]))
    def commit(self, most: int) -> None:
        self.cluster.commit(most)

    @rule(kept=st.sampled_from([0, 1, 3, 100]))
    def change_leaders(self, kept: int) -> None:
        self.cluster.change_leaders(kept)

    @rule(number=numbers, which=st.integers(0, 3), most=st.sampled_from([1, 2, 100]))
    def hear(self, number: int, which: int, most: int) -> None:
        self.clients[number].hear(which, most)

    @rule(number=numbers)
    def redial(self, number: int) -> None:
        self.clients[number].redial()

    @rule(number=numbers, which=st.integers(0, 5))
    def give_up(self, number: int, which: int) -> None:
        callers = self.clients[number].callers
        if which < len(callers):
            callers[-1 - which].is_over = True

    @rule(number=numbers)
    def keep_alive(self, number: int) -> None:
        self.clients[number].queue.keep_alive()

    @rule(seconds=st.sampled_from([1, 15, 25]))
    def wait(self, seconds: int) -> None:
        self.cluster.now_ns += seconds * 1_000_000_000

    @rule(sessions=st.integers(1, LIMITS.sessions))
    def crowd(self, sessions: int) -> None:
        """Others open sessions, and ours have to go."""
        for _ in range(sessions):
            self.cluster.apply(encode_open(self.draw_nonce()))

    @rule()
    def all_is_answered_in_the_end(self) -> None:
        for _ in range(MANY_ROUNDS):
            for client in self.clients:
                while client.send():
                    pass
                self._let_arrive(client)
            self.cluster.commit(len(self.cluster.log))
            if not any(client.asked for client in self.clients):
                break
            for client in self.clients:
                client.hear_all()

        for client in self.clients:
            for caller in client.callers:
                assert caller.is_over or caller.outcome is not MISSING, f"{caller.name} is never answered"
        self._check_outcomes()

    def _let_arrive(self, client: Client) -> None:
        while client.on_its_way:
            self.cluster.take(client.on_its_way.popleft(), 100, REFUSALS[0])

    def _check_outcomes(self) -> None:
        """Nothing is on its way any more, so what has not happened never will."""
        names = self.cluster.journal.names
        assert len(set(names)) == len(names), "a command took effect twice"
        for client in self.clients:
            numbers = [number for name, number in names if name == client.number]
            assert numbers == sorted(numbers), "commands took effect out of order"
            for caller in client.callers:
                self._check_outcome(caller, names)

    def _check_outcome(self, caller: Caller, names: list[Name]) -> None:
        match caller.outcome:
            case int(place):
                assert names[place - 1] == caller.name, "another command's result"
            case SessionExpired():
                assert caller.name not in names, "it is said not to have happened"
            case Rejected():
                assert caller.name[1] % 7 == 0
            case outcome:
                assert outcome is MISSING or isinstance(outcome, OutcomeUnknown)


Clients.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestClientQueue = Clients.TestCase
