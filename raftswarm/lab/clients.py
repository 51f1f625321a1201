"""Clients of random worlds: some just ask, some number their commands in a session and send them until answered.

Each has a source of chance of its own. They ask whoever believes to lead, deposed leaders too, and now and then
anybody; what they are told is for the history to judge, and what the sessions did for `effects`.
"""

from __future__ import annotations

from functools import partial
from random import Random

from raftswarm.errors import OutOfOrder, Rejected, SessionExpired
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
FAR_AHEAD = 1000
MAX_ASKED = 3
"""Who is not answered asks again, but not for ever."""


class Clients:
    """All clients of a world's mix, until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        mix = world.faults
        self.calls = 0
        self.is_active = bool(mix.call_every)
        for number in range(1, mix.clients + 1) if self.is_active else ():
            chance = world.chance(f"client {number}")
            kind = _SessionClient if chance.random() < mix.session_share else _Client
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
        self._restored = 0
        """How often the cluster had been set back when the session began: numbers of sessions come again then."""

    def _ask(self) -> None:
        if self._chance.random() < READ_SHARE:
            self._world.read(member=self._pick())
        if self._restored != self._world.restored:
            self._begin_anew()
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
            hasty_share = self._world.faults.hasty_share
            if hasty_share and self._chance.random() < hasty_share:
                self._send_out_of_turn(self._sequence + FAR_AHEAD)
                self._send_out_of_turn(self._answered)

    def _send_command(self) -> None:
        command = encode_command(self._session, self._sequence, self._answered, self._body)
        self._send(command, partial(self._told, self._session, self._sequence, self._command))

    def _send_out_of_turn(self, sequence: int) -> None:
        """Send what must never take effect: one before it was never sent, or its answer has been acknowledged."""
        body = mark(self._number, self._command + FAR_AHEAD, b"")
        command = encode_command(self._session, sequence, self._answered, body)
        call = self._world.propose(command, member=self._pick())
        call.then = partial(self._expect_refusal, call)
        if call.ended_at is not None:
            call.then()

    def _expect_refusal(self, call: Call) -> None:
        if call.error is None:
            raise Violation(f"15: a command of client {self._number} was applied out of its turn")

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
        self._restored = self._world.restored
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
