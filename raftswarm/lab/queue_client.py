"""A client that leaves numbers and second tries to the queue that real clients have (`consensus.requests`)."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import attrs

from raftswarm.consensus.requests import Batch, Request, SessionQueue
from raftswarm.errors import OutcomeUnknown, RaftSwarmError, SessionExpired
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.effects import mark
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.plain_client import READ_SHARE, PlainClient
from raftswarm.lab.session_client import PATIENCE_SECONDS
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import NONCE_BYTES

if TYPE_CHECKING:
    from raftswarm.lab.clients import Clients

MAX_UNSETTLED = 40
BREAK_SHARE = 0.03
KEEP_ALIVE_SHARE = 0.05
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
"""Who is refused again and again pauses twice as long each time, and tries with one command."""


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
    is_due: bool = False
    """Its answers are about to be looked at."""


class QueueClient(PlainClient):
    """Has many commands on their way at a time, which take effect once each, in order.

    Its link breaks now and then, with some of them unanswered.
    """

    def __init__(self, world: CoreWorld, clients: Clients, number: int, chance: Random) -> None:
        super().__init__(world, clients, number, chance)
        self._queue = self._new_queue()
        self._restored = 0
        """How often the cluster had been set back when the queue began: numbers of sessions come again then."""
        self._member = 1
        self._sent: list[_Sent] = []
        self._command = 0
        self._settled = 0
        self._pauses_until = 0.0
        self._pause_seconds = 0.0
        """The last pause, if nothing has gone well since."""
        self._places: list[tuple[int, int]] = []
        """Numbers of those that succeeded, in order, and where they stand."""

    def _new_queue(self) -> SessionQueue:
        return SessionQueue(lambda: self._chance.randbytes(NONCE_BYTES))

    def _look_for_restore(self) -> None:
        """All members were set back: nobody knows what of all that has happened still counts."""
        if self._restored == self._world.restored:
            return
        self._restored = self._world.restored
        for one in self._sent:
            one.is_lost = True
        self._sent, self._places = [], []
        self._queue, self._settled = self._new_queue(), self._command

    def _ask(self) -> None:
        chance = self._chance
        self._look_for_restore()
        if chance.random() < READ_SHARE:
            self._world.read(member=self._pick())
        if chance.random() < BREAK_SHARE or self._waits_in_vain():
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
        self._look_for_restore()
        heap = self._world.heap
        if not self._clients.is_active or heap.now < self._pauses_until:
            return
        while (taken := self._queue.take(1 if self._pause_seconds else MAX_UNSETTLED)) is not None:
            batch, bodies = taken
            sent = _Sent(batch)
            self._sent.append(sent)
            for body in bodies:
                call = self._world.propose(body, member=self._member)
                sent.calls.append(call)
                call.then = partial(self._hear_soon, sent)
            self._hear_soon(sent)  # Who does not run refuses at once.

    def _hear_soon(self, sent: _Sent) -> None:
        if not sent.is_due:
            sent.is_due = True
            self._world.heap.after(0.0, self._hear, sent)

    def _hear(self, sent: _Sent) -> None:
        """Tell the queue what has been answered, in the order in which it was asked."""
        self._look_for_restore()
        sent.is_due = tries_again = False
        while not sent.is_lost and sent.told < len(sent.calls) and sent.calls[sent.told].ended_at is not None:
            call = sent.calls[sent.told]
            sent.told += 1
            if call.error is None:
                self._pause_seconds = 0.0
                self._queue.complete(sent.batch, [call.result])
            else:
                tries_again |= self._queue.fail(sent.batch, call.error)
        self._sent = [one for one in self._sent if one.told < len(one.calls)]
        if tries_again:
            self._member = self._pick()
            self._pause_seconds = min(2 * self._pause_seconds or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._pauses_until = self._world.now + self._pause_seconds
            self._world.heap.at(self._pauses_until, self._send)
        else:
            self._send()

    def _waits_in_vain(self) -> bool:
        """Tell whether the oldest command on its way has had no answer for so long that nobody would wait on."""
        oldest = self._sent[0].calls[self._sent[0].told] if self._sent else None
        return oldest is not None and oldest.invoked_at < self._world.now - PATIENCE_SECONDS

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
