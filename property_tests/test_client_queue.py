"""What a client asks of a cluster that loses, delays and repeats: each command takes effect once, in order (D 6.3).

A client's queue talks with the real table of sessions; between them stands a log that is treated as badly as
leaders that come and go may. Frames of links that are gone still arrive, answers come in pieces, sessions expire or
make room for others. Whoever is told a result, or that nothing happened, can rely on that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Final

import attrs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

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
MANY: Final = 1000

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


REFUSALS = (NotLeader("this member does not lead"), Overloaded("too much waits"), OutcomeUnknown("it is stopping"))


class Story:
    """What clients ask and what befalls them, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.nonces = count(1)
        self.cluster = Cluster()
        self.clients = [Client(number, self.draw_nonce) for number in range(CLIENTS)]

    def draw_nonce(self) -> bytes:
        return next(self.nonces).to_bytes(16, "big")

    def go_on(self) -> None:
        chance, client = self.chance, self.chance.choice(self.clients)
        match chance.choice(["ask"] * 8 + ["link"] * 3 + ["leader", "silence", "crowd", "give up", "keep alive"]):
            case "ask":
                self.ask(client)
            case "link":
                self.break_link(client)
            case "leader":
                self.cluster.change_leaders(chance.choice([0, 1, 3, MANY]))
            case "silence":
                self.cluster.now_ns += chance.randint(0, 2 * LIMITS.idle_seconds) * 1_000_000_000
            case "crowd":  # Others open sessions, and ours have to go.
                for _ in range(chance.randint(1, LIMITS.sessions)):
                    self.cluster.apply(encode_open(self.draw_nonce()))
            case "give up" if client.callers:
                chance.choice(client.callers[-5:]).is_over = True
            case _:
                client.queue.keep_alive()

    def ask(self, client: Client) -> None:
        """Each of the steps from a client to its answer may be where it ends this time."""
        chance = self.chance
        client.propose(chance.choice([0, 1, 3, 8]))
        while client.send():
            pass
        for _ in range(min(len(client.on_its_way), chance.choice([MANY, MANY, 1, 0]))):
            self.cluster.take(
                client.on_its_way.popleft(), chance.choice([MANY, MANY, MANY, 0, 1, 3]), chance.choice(REFUSALS)
            )
        self.cluster.commit(chance.choice([MANY, MANY, 0, 1, 3]))
        for _ in range(2):
            client.hear(chance.randrange(3), chance.choice([MANY, 0, 1, 3]))

    def break_link(self, client: Client) -> None:
        """What was on its way is lost, or arrives before or after what comes on the new link."""
        client.redial()
        is_lost, is_overtaken = self.chance.random() < 0.3, self.chance.random() < 0.3
        while is_overtaken and client.send():
            pass
        late = [frame for frame in client.on_its_way if frame not in client.asked and not is_lost]
        new = [frame for frame in client.on_its_way if frame in client.asked]
        client.on_its_way = deque(new + late if is_overtaken else late + new)

    def come_to_its_end(self) -> None:
        """Nothing gets lost any more, and all that is late arrives."""
        for _ in range(MANY):
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
            self.cluster.take(client.on_its_way.popleft(), MANY, REFUSALS[0])

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


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_commands_take_effect_once_and_in_order_and_callers_can_rely_on_what_they_are_told(seed: int) -> None:
    story = Story(seed)
    for _ in range(50):
        story.go_on()
    story.come_to_its_end()
