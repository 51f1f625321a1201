"""Reads that wait: at a leader for a quorum to confirm that it still leads, elsewhere for the leader's answer (6.4).

The one big idea: both are numbered, and numbers are cumulative. A round that a quorum has answered confirms the rounds
before it, and an answer to a request answers the requests before it, since their reads began earlier still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import inf

import attrs


@attrs.frozen
class Read:
    """One read of a program here; or, at a leader, all the reads that one request of another member stands for."""

    member: int
    """Who asks."""
    token: int
    """Our program's token, or the number of the member's request."""
    asked_at: float


@attrs.frozen
class ReadRound:
    """One round of heartbeats, and the reads that it confirms."""

    number: int
    began_at: float
    """When its heartbeats left."""
    index: int
    """The commit index at that moment."""
    reads: tuple[Read, ...]


@attrs.define(eq=False)
class ReadQueue:
    """A leader's: first the reads of no round yet, then the rounds under way, oldest first."""

    newest_round: int = 0
    count: int = 0
    _waiting: list[Read] = attrs.field(factory=list)
    _rounds: deque[ReadRound] = attrs.field(factory=deque)

    @property
    def has_waiting(self) -> bool:
        """Tell whether there are reads that belong to no round yet."""
        return bool(self._waiting)

    def add(self, read: Read) -> None:
        """Let a read wait for the next round."""
        self._waiting.append(read)
        self.count += 1

    def take_waiting(self) -> list[Read]:
        """Take out what belongs to no round."""
        waiting, self._waiting = self._waiting, []
        self.count -= len(waiting)
        return waiting

    @property
    def has_rounds(self) -> bool:
        """Tell whether a round is under way."""
        return bool(self._rounds)

    def begin_round(self, now: float, index: int, reads: Iterable[Read]) -> None:
        """Number a new round, which confirms these."""
        self.newest_round += 1
        self._rounds.append(ReadRound(self.newest_round, now, index, tuple(reads)))
        self.count += len(self._rounds[-1].reads)

    def take_confirmed(self, number: int) -> Iterator[ReadRound]:
        """Take out the rounds up to that number."""
        while self._rounds and self._rounds[0].number <= number:
            confirmed = self._rounds.popleft()
            self.count -= len(confirmed.reads)
            yield confirmed

    def take_late(self, now: float, patience_seconds: float) -> list[Read]:
        """Take out the reads that have waited for so long, with or without a round."""
        reads: list[Read] = []
        while self._rounds and self._rounds[0].began_at + patience_seconds <= now:
            reads += self._rounds.popleft().reads
        late = sum(read.asked_at + patience_seconds <= now for read in self._waiting)
        reads += self._waiting[:late]
        del self._waiting[:late]
        self.count -= len(reads)
        return reads

    def take_all(self) -> list[Read]:
        """Take out every read, oldest first."""
        return self.take_late(inf, 0.0)


@attrs.define
class _Request:
    number: int
    reads: deque[Read]
    index: int | None = None
    """The leader's answer."""


@attrs.define(eq=False)
class ReadRequests:
    """A follower's: first the reads that the leader was not asked about yet, then the requests, oldest first."""

    newest: int
    """Number of the newest request. It begins with a number that no other start of this member draws, so that answers
    to an earlier start answer nothing."""
    count: int = 0
    _waiting: deque[Read] = attrs.field(factory=deque)
    _requests: deque[_Request] = attrs.field(factory=deque)
    _asked: tuple[int, int] = (0, 0)
    """Whom, in which term, the newest request went to."""
    _asked_at: float = -inf

    @property
    def has_waiting(self) -> bool:
        """Tell whether there are reads that the leader was not asked about yet."""
        return bool(self._waiting)

    def add(self, read: Read) -> None:
        """Let a read wait for the next request."""
        self._waiting.append(read)
        self.count += 1

    def is_due(self, leader: int, term: int, now: float, retry_seconds: float) -> bool:
        """Tell whether that leader is to be asked: there is something new, or what it was asked must have got lost."""
        if self._waiting:
            return True
        return self._has_open and (self._asked != (leader, term) or self._asked_at + retry_seconds <= now)

    def begin_request(self, leader: int, term: int, now: float) -> int:
        """Number a request for all that has no answer."""
        self.newest += 1
        self._asked, self._asked_at = (leader, term), now
        if self._waiting:
            self._requests.append(_Request(self.newest, self._waiting))
            self._waiting = deque()
        return self.newest

    def answer(self, number: int, index: int) -> None:
        """The leader says from which index on the reads of that request, and of those before it, may be served."""
        for request in self._requests:
            if request.number <= number and request.index is None:
                request.index = index

    def take_answered(self, index: int) -> Iterator[tuple[Read, int]]:
        """Take out the reads whose answer is no higher than that."""
        while self._requests and (answer := self._requests[0].index) is not None and answer <= index:
            reads = self._requests.popleft().reads
            self.count -= len(reads)
            for read in reads:
                yield read, answer

    def take_late(self, now: float, patience_seconds: float) -> Iterator[Read]:
        """Take out the reads that have waited for so long."""
        for reads in (*(request.reads for request in self._requests), self._waiting):
            while reads and reads[0].asked_at + patience_seconds <= now:
                self.count -= 1
                yield reads.popleft()
        self._requests = deque(request for request in self._requests if request.reads)

    def take_all(self) -> list[Read]:
        """Take out every read, oldest first."""
        return list(self.take_late(inf, 0.0)) if self.count else []

    def next_due(self, patience_seconds: float, retry_seconds: float) -> float:
        """When to look again: a read is late, or an answer is missing."""
        if not self.count:
            return inf
        oldest = self._requests[0].reads[0] if self._requests else self._waiting[0]
        retry_at = self._asked_at + retry_seconds if self._has_open else inf
        return min(oldest.asked_at + patience_seconds, retry_at)

    @property
    def _has_open(self) -> bool:
        return bool(self._requests) and self._requests[-1].index is None
