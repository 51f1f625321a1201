"""How a member has to come by the answers to reads: told from what it sends and hears, without the code that does it.

21: nobody answers a read without proof that nobody newer led when it was asked (6.4). For a leader that is a quorum
that answered a heartbeat which left after the read came; or, where it reads by lease, a quorum whose promises still
last, counted from when the heartbeats left, and no word yet that another may campaign (6.4.1). For others it is a
leader's answer that came later. A wrong answer shows only where somebody else leads; a wrong way to it, at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import attrs

from raftswarm.lab.invariants import Violation
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply, TimeoutNow
from raftswarm.raft.ready import Ready
from raftswarm.raft.settings import RaftSettings


@attrs.frozen
class _Left:
    """When the heartbeats of a round left."""

    place: int
    """In the order of all that is watched here."""
    at: float
    """By the member's clock."""


_NEVER: Final = _Left(0, -inf)
_LOOKED_AT: Final = frozenset({Heartbeat, ReadIndexReply, TimeoutNow})


class ReadConduct:
    """Watches one process; raises `Violation` where a read is answered that nothing vouches for."""

    def __init__(self, member: int, settings: RaftSettings, configuration: Configuration) -> None:
        self._member = member
        self._settings = settings
        self._configurations = (configuration, configuration)
        """In force before this turn, and after it: what is confirmed in it is so by one of them."""
        self._place = 0
        self._asked: dict[int, int] = {}
        """By the token of a program's read: at which place it came."""
        self._requested: dict[tuple[int, int], int] = {}
        """By peer and number: at which place that request was first heard."""
        self._told_at = 0
        """At which place a leader's answer was heard last."""
        self._term = 0
        """In which all that follows was sent and heard."""
        self._rounds: dict[int, _Left] = {}
        self._newest_round = 0
        self._answered: dict[int, _Left] = {}
        """By peer: the newest round that it has answered."""
        self._lease_from = -inf
        self._may_be_replaced = False
        """It has told somebody to campaign, in spite of all promises."""

    # What reaches it.

    def asked(self, token: int) -> None:
        """A program here wants to read."""
        self._asked[token] = self._next_place()

    def requested(self, request: ReadIndex) -> None:
        """A peer asks for its reads, maybe once more."""
        self._requested.setdefault((request.sender, request.number), self._next_place())

    def told(self) -> None:
        """A leader answers."""
        self._told_at = self._next_place()

    def heard(self, reply: HeartbeatReply) -> None:
        """A peer answers heartbeats; to a round that never was, it answers the newest at best."""
        if reply.term != self._term:
            return
        left = self._rounds.get(min(reply.round, self._newest_round), _NEVER)
        if left.place > self._answered.get(reply.sender, _NEVER).place:
            self._answered[reply.sender] = left

    # What it hands out.

    def handed_out(self, ready: Ready, lease_from: float, configuration: Configuration, now: float) -> None:
        """It answers reads, and sends heartbeats, which nobody can have answered yet."""
        self._configurations = (self._configurations[1], configuration)
        if lease_from > self._lease_from and not self._is_reached(lambda left: left.at >= lease_from):
            raise Violation(
                f"21: {self._member} has a lease from {lease_from:.6f} on, and no quorum has answered what left then"
            )
        self._lease_from = lease_from
        for outcome in ready.reads:
            place = self._asked.pop(outcome.token, 0)
            if not outcome.refused and self._told_at <= place:
                self._check(place, now, "a read of its own")
        for message in ready.messages:
            if type(message) in _LOOKED_AT:
                self._sends(message, now)

    def _sends(self, message: object, now: float) -> None:
        match message:
            case ReadIndexReply(to=peer, number=number):
                self._check(self._requested.get((peer, number), 0), now, f"request {number} of {peer}")
            case Heartbeat(term=term, round=number):
                if term != self._term:
                    self._term, self._newest_round, self._may_be_replaced = term, 0, False
                    self._rounds.clear()
                    self._answered.clear()
                if number > self._newest_round:
                    self._newest_round = number
                    self._rounds[number] = _Left(self._next_place(), now)
            case _:
                self._may_be_replaced = True

    def _check(self, place: int, now: float, what: str) -> None:
        lasts = self._settings.election_seconds / (1 + self._settings.clock_drift)
        has_lease = self._settings.lease_reads and not self._may_be_replaced and now < self._lease_from + lasts
        if not has_lease and not self._is_reached(lambda left: left.place > place):
            raise Violation(f"21: {self._member} answers {what}, and no quorum has confirmed since that it leads")

    def _is_reached(self, answered: Callable[[_Left], bool]) -> bool:
        """Tell whether a majority of old and of new voters has answered such a round; itself it need not ask."""

        def is_majority(voters: Sequence[MemberInfo]) -> bool:
            agree = sum(info.id == self._member or answered(self._answered.get(info.id, _NEVER)) for info in voters)
            return not voters or 2 * agree > len(voters)

        return any(
            is_majority(configuration.voters) and is_majority(configuration.outgoing)
            for configuration in self._configurations
        )

    def _next_place(self) -> int:
        self._place += 1
        return self._place
