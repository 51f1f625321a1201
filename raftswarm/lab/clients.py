"""Clients of random worlds: some just ask, some number their commands in a session and send them until answered.

Of these some do all by themselves, one command after another, and some have the queue of a real client for it.

Each has a source of chance of its own. They ask whoever believes to lead, deposed leaders too, and now and then
anybody; what they are told is for the history to judge, and what the sessions did for `effects`.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from functools import partial
from random import Random

import attrs

from raftswarm.consensus.requests import Batch, Request, SessionQueue
from raftswarm.errors import OutcomeUnknown, OutOfOrder, RaftSwarmError, Rejected, SessionExpired
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.effects import mark
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import REFUSED
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import (
    MAX_PAYLOAD_BYTES,
    NONCE_BYTES,
    encode_command,
    encode_keep_alive,
    encode_open,
    encode_plain,
)

READ_SHARE = 0.2
REFUSED_SHARE = 0.05
SIZES = (0, 10, 100, 1000)
MAX_ASKED = 3
"""Who is not answered asks again, but not for ever."""
BURSTS = (600, 3000)
"""Commands at once: more than one turn applies."""
MAX_UNSETTLED = 40
BREAK_SHARE = 0.03
KEEP_ALIVE_SHARE = 0.05
TRY_AGAIN_SECONDS = 0.05


class Clients:
    """All clients of a world's mix, until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        mix = world.faults
        self.calls = 0
        self.is_active = bool(mix.call_every)
        for number in range(1, mix.clients + 1) if self.is_active else ():
            chance = world.chance(f"client {number}")
            in_session = chance.random() < mix.session_share
            kind = chance.choice((_SessionClient, _QueueClient)) if in_session else _Client
            kind(world, self, number, chance).plan()

    def stop(self) -> None:
        """Ask nothing more."""
        self.is_active = False


class _Client:
    """Asks for whatever comes to its mind."""

    def __init__(self, world: CoreWorld, clients: Clients, number: int, chance: Random) -> None:
        self._world = world
        self._clients = clients
        self._number = number
        self._chance = chance

    def plan(self) -> None:
        """Ask again some time."""
        mix = self._world.faults
        self._world.heap.after(self._chance.expovariate(1.0 / (mix.call_every * mix.clients)), self._act)

    def _act(self) -> None:
        if self._clients.is_active:
            self._clients.calls += 1
            self._ask()
            self.plan()

    def _ask(self) -> None:
        world, chance = self._world, self._chance
        kind = chance.random()
        if kind < READ_SHARE:
            # Anybody may be read at; a leader that slept, or was cut off, is the one to fall for it.
            world.read(member=chance.choice([self._pick(), chance.choice(list(world.hosts))]))
        elif kind < READ_SHARE + REFUSED_SHARE:
            world.propose(self._wrap(REFUSED), member=self._pick())
        else:
            for _ in range(chance.choice((1, 1, 1, 5))):
                world.propose(self._wrap(self._draw_body()), member=self._pick())
            if chance.random() < world.faults.burst_share:
                member = self._pick()
                for _ in range(chance.choice(BURSTS)):
                    world.propose(self._wrap(b""), member=member)

    def _draw_body(self) -> bytes:
        if self._chance.random() < self._world.faults.huge_share:
            # With what goes around it, it is too large by a few bytes, or not.
            return bytes(MAX_COMMAND_BYTES - self._chance.randrange(80))
        return bytes(self._chance.choice(SIZES))

    def _wrap(self, body: bytes) -> bytes:
        return encode_plain(body[:MAX_PAYLOAD_BYTES]) if self._world.has_sessions else body

    def _pick(self) -> int:
        world = self._world
        if self._chance.random() >= world.faults.wrong_member_share:
            members = [member for member in world.running if world.process(member).leadership.is_leader]
            if members:
                return self._chance.choice(members)
        return self._chance.choice(list(world.hosts))


class _SessionClient(_Client):
    """Sends one numbered command after another, each until it is answered, and sometimes twice at once."""

    def __init__(self, world: CoreWorld, clients: Clients, number: int, chance: Random) -> None:
        super().__init__(world, clients, number, chance)
        self._session = 0
        self._nonce = chance.randbytes(NONCE_BYTES)
        self._sequence = 0
        self._answered = 0
        self._command = 0
        """Counts commands over all sessions."""
        self._body = b""
        self._asked = 0
        """Calls without an answer."""
        self._answer: object = None

    def _ask(self) -> None:
        if self._chance.random() < READ_SHARE:
            self._world.read(member=self._pick())
        if self._asked >= MAX_ASKED:
            return
        if not self._session:
            self._send(encode_open(self._nonce), self._opened)
        elif self._answered < self._sequence:
            self._send_command()
        elif self._chance.random() < 0.1:
            self._send(encode_keep_alive(self._session, self._answered), self._kept)
        else:
            self._sequence += 1
            self._command += 1
            self._body = mark(self._number, self._command, self._draw_body()[: MAX_COMMAND_BYTES - 200])
            for _ in range(2 if self._chance.random() < self._world.faults.duplicate_share else 1):
                self._send_command()

    def _send_command(self) -> None:
        command = encode_command(self._session, self._sequence, self._answered, self._body)
        self._send(command, partial(self._told, self._session, self._sequence, self._command))

    def _send(self, command: bytes, then: object) -> None:
        call = self._world.propose(command, member=self._pick())
        self._asked += 1
        call.then = partial(self._ended, call, then)
        if call.ended_at is not None:
            call.then()

    def _ended(self, call: Call, then: object) -> None:
        self._asked -= 1
        assert callable(then), "what to do with an answer"
        if isinstance(call.error, (SessionExpired, OutOfOrder)):
            self._begin_anew()
        elif call.error is None or isinstance(call.error, Rejected):
            then(call)

    def _begin_anew(self) -> None:
        """The session has ended, and what was under way may have happened."""
        self._session = self._sequence = self._answered = 0
        self._nonce = self._chance.randbytes(NONCE_BYTES)

    def _opened(self, call: Call) -> None:
        if not self._session:
            assert isinstance(call.result, int), "a session is opened with its number"
            self._session = call.result

    def _kept(self, call: Call) -> None:
        """Nothing depends on it."""

    def _told(self, session: int, sequence: int, command: int, call: Call) -> None:
        if (session, sequence) != (self._session, self._sequence):
            return
        if not self._world.effects.has_taken(self._number, command):
            raise Violation(f"15: command {command} of client {self._number} was answered and never took effect")
        if self._answered == sequence and self._answer != call.result:
            raise Violation(
                f"15: command {command} of client {self._number} was answered {self._answer!r}, then {call.result!r}"
            )
        self._answered, self._answer = sequence, call.result


class _Command(Request):
    """One of a queue's, named by its number."""

    __slots__ = ("_number", "_settled")

    def __init__(self, body: bytes, number: int, settled: Callable[[int, object], None]) -> None:
        super().__init__(body)
        self._number = number
        self._settled = settled

    def settle(self, outcome: object) -> None:
        """Let its client judge that."""
        self._settled(self._number, outcome)


@attrs.define(eq=False)
class _Sent:
    """A batch on its way: its calls, which are answered in order, until the link breaks."""

    batch: Batch
    calls: list[Call] = attrs.field(factory=list)
    told: int = 0
    is_lost: bool = False


class _QueueClient(_Client):
    """Leaves numbers and second tries to the queue that real clients have: many commands are on their way at a time.

    Its link breaks now and then, with some of them unanswered.
    """

    def __init__(self, world: CoreWorld, clients: Clients, number: int, chance: Random) -> None:
        super().__init__(world, clients, number, chance)
        self._queue = SessionQueue(lambda: chance.randbytes(NONCE_BYTES))
        self._member = 1
        self._sent: list[_Sent] = []
        self._command = 0
        self._settled = 0
        self._places: list[tuple[int, int]] = []
        """Numbers of those that succeeded, in order, and where they stand."""

    def _ask(self) -> None:
        chance = self._chance
        if chance.random() < READ_SHARE:
            self._world.read(member=self._pick())
        if chance.random() < BREAK_SHARE:
            self._break_link()
        if self._command - self._settled < MAX_UNSETTLED:
            for _ in range(chance.choice((1, 1, 1, 8))):
                self._command += 1
                body = mark(self._number, self._command, self._draw_body()[: MAX_COMMAND_BYTES - 200])
                self._queue.add(_Command(body, self._command, self._judge))
        if chance.random() < KEEP_ALIVE_SHARE:
            self._queue.keep_alive()
        self._send()

    def _send(self) -> None:
        if not self._clients.is_active:
            return
        heap = self._world.heap
        while (taken := self._queue.take(MAX_UNSETTLED)) is not None:
            batch, bodies = taken
            sent = _Sent(batch)
            self._sent.append(sent)
            for body in bodies:
                call = self._world.propose(body, member=self._member)
                sent.calls.append(call)
                call.then = partial(heap.after, 0.0, self._hear, sent)
            heap.after(0.0, self._hear, sent)  # Who does not run refuses at once.

    def _hear(self, sent: _Sent) -> None:
        """Tell the queue what has been answered, in the order in which it was asked."""
        tries_again = False
        while not sent.is_lost and sent.told < len(sent.calls) and sent.calls[sent.told].ended_at is not None:
            call = sent.calls[sent.told]
            sent.told += 1
            if call.error is None:
                self._queue.complete(sent.batch, [call.result])
            else:
                tries_again |= self._queue.fail(sent.batch, call.error)
        self._sent = [one for one in self._sent if one.told < len(one.calls)]
        if tries_again:
            self._member = self._pick()
            self._world.heap.after(TRY_AGAIN_SECONDS, self._send)
        else:
            self._send()

    def _break_link(self) -> None:
        sent, self._sent = self._sent, []
        for one in sent:
            one.is_lost = True
            self._queue.lose(one.batch)
        self._member = self._pick()

    def _judge(self, number: int, outcome: object) -> None:
        self._settled += 1
        effects = self._world.effects
        name = f"command {number} of client {self._number}"
        match outcome:
            case OutcomeUnknown():
                pass
            case SessionExpired():
                effects.refuse(self._number, number)
            case RaftSwarmError():
                raise Violation(f"15: {name} was refused: {outcome}")
            case _ if not effects.has_taken(self._number, number):
                raise Violation(f"15: {name} was answered and never took effect")
            case _:
                place, result = effects.effect_of(self._number, number)
                if outcome != result:
                    raise Violation(f"15: {name} was answered {outcome!r}, which is not its result {result!r}")
                at = bisect(self._places, (number, place))
                self._places.insert(at, (number, place))
                places = [place for _, place in self._places[max(0, at - 1) : at + 2]]
                if places != sorted(places):
                    raise Violation(f"15: {name} took effect at {place}, out of order: {places}")
