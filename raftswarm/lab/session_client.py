"""A client that numbers its commands in a session: one after another, each until it is answered, some twice."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from raftswarm.errors import OutOfOrder, Rejected, SessionExpired
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.effects import mark
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.plain_client import READ_SHARE, PlainClient
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import NONCE_BYTES, encode_command, encode_keep_alive, encode_open

if TYPE_CHECKING:
    from raftswarm.lab.clients import Clients

MAX_ASKED = 3
"""Who is not answered asks again, but has no more than so many questions open …"""
PATIENCE_SECONDS = 2.0
"""… and holds one for lost after so long: a member that sleeps answers nothing, and may do so for minutes."""
KEEP_ALIVE_SHARE = 0.1
LATE_SECONDS = 0.5
EARLY = 2000
"""Numbers ahead of what is next: no session gets so far in the meantime."""
EARLY_SHARE = 0.05
TOLD_OF_BACKUP_SHARE = 0.5
_GIVEN_UP: Final = object()
"""An answer that counted before a backup was restored."""


class SessionClient(PlainClient):
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
        self._open: list[Call] = []
        """Those that may still be answered."""
        self._answer: object = None
        self._restored = 0
        """How often the cluster had been set back when the client last noticed."""

    def _ask(self) -> None:
        if self._chance.random() < READ_SHARE:
            self._world.read(member=self._pick())
        if self._restored != self._world.restored:
            self._notice_backup()
        self._open = [call for call in self._open if call.is_open_since(self._world.now - PATIENCE_SECONDS)]
        if len(self._open) >= MAX_ASKED:
            return
        if not self._session:
            self._send(encode_open(self._nonce), self._opened)
        elif self._answered < self._sequence:
            self._send_command()
        elif self._chance.random() < KEEP_ALIVE_SHARE:
            self._send(encode_keep_alive(self._session, self._answered), self._kept)
        elif self._chance.random() < EARLY_SHARE:
            self._send_early()
        else:
            self._sequence += 1
            self._command += 1
            self._body = mark(self._number, self._command, self._draw_body()[: MAX_COMMAND_BYTES - 200])
            for _ in range(2 if self._chance.random() < self._world.faults.duplicate_share else 1):
                self._send_command()
            if self._chance.random() < self._world.faults.duplicate_share:
                copy = encode_command(self._session, self._sequence, self._answered, self._body)
                self._world.heap.after(self._chance.expovariate(1.0 / LATE_SECONDS), self._send_late, copy)
            if (share := self._world.faults.hasty_share) and self._chance.random() < share:
                self._send_out_of_turn(self._answered)

    def _send_command(self) -> None:
        command = encode_command(self._session, self._sequence, self._answered, self._body)
        self._send(command, partial(self._told, self._session, self._sequence, self._command))

    def _send_late(self, command: bytes) -> None:
        """A copy that was held up on its way, also while all were set back: nobody waits for its answer."""
        if self._clients.is_active:
            self._world.propose(command, member=self._pick())

    def _send_early(self) -> None:
        """One that many others have to come before is refused, and changes nothing."""
        self._send_out_of_turn(self._sequence + EARLY)

    def _send_out_of_turn(self, sequence: int) -> None:
        """Send what must never take effect: others come before it, or its answer has been acknowledged."""
        body = mark(self._number, self._command + EARLY, b"")
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
        self._open.append(call)
        call.then = partial(self._ended, call, then)
        if call.ended_at is not None:
            call.then()

    def _ended(self, call: Call, then: object) -> None:
        assert callable(then), "what to do with an answer"
        if isinstance(call.error, (SessionExpired, OutOfOrder)):
            self._begin_anew()
        elif call.error is None or isinstance(call.error, Rejected):
            then(call)

    def _notice_backup(self) -> None:
        """All members were set back to a backup. Who is not told so goes on, and the cluster has to see to it."""
        self._restored = self._world.restored
        self._answer = _GIVEN_UP
        if self._chance.random() < TOLD_OF_BACKUP_SHARE:
            self._begin_anew()

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
        if self._answered == sequence and self._answer not in (_GIVEN_UP, call.result):
            raise Violation(
                f"15: command {command} of client {self._number} was answered {self._answer!r}, then {call.result!r}"
            )
        self._answered, self._answer = sequence, call.result
