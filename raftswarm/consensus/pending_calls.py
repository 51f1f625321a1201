"""Calls that have no answer yet: who waits for what, and what it means if leadership, or this member, is lost first.

The one big idea: a call passes through at most three places. It is *asked* until the member has taken it in or refused
it; a proposal is then *appended* until its entry is committed and applied; a read has its *index* and waits until that
is applied. Whatever happens, each waiter leaves them exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from raftswarm.consensus.proposals import Proposals, Waiter
from raftswarm.consensus.rules import ReplicaRule
from raftswarm.errors import NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError, TransferFailed
from raftswarm.raft.log_entry import Entry
from raftswarm.raft.member import Member
from raftswarm.raft.ready import Leadership, ProposalOutcome, ReadOutcome, TransferOutcome


def fail_all(waiters: Sequence[Waiter], error: RaftSwarmError) -> None:
    """Tell all of them."""
    for waiter in waiters:
        waiter.fail(error)


@attrs.frozen
class _Asked:
    """What the member has not answered yet."""

    waiters: Sequence[Waiter]
    if_lost: type[RaftSwarmError]
    """What it means if it never will."""


@attrs.frozen
class _Appended:
    """Proposals that are in the log and wait to be committed."""

    index: int
    term: int
    proposals: Proposals


NO_PROPOSALS = Proposals()


class PendingCalls:
    """The waiters of one replica."""

    def __init__(self, member: Member) -> None:
        """`member` is looked at, to say whom to ask instead."""
        self._member = member
        self._next_token = 1
        self._asked: dict[int, _Asked] = {}
        """Reads and transfers, by token."""
        self._proposed: dict[int, Proposals] = {}
        """What is to become entries of the log, by token."""
        self._appended: deque[_Appended] = deque()
        self._reads: deque[tuple[int, Waiter]] = deque()
        """Reads that wait for their index to be applied; all of it is committed here."""

    @property
    def count(self) -> int:
        """How many waiters have no answer yet."""
        asked = sum(len(asked.waiters) for asked in self._asked.values())
        proposed = sum(proposals.count for proposals in self._proposed.values())
        return asked + proposed + self.in_flight + len(self._reads)

    @property
    def in_flight(self) -> int:
        """How many commands of callers here are in the log and wait to be committed."""
        return sum(entry.proposals.count for entry in self._appended)

    def expect(self, waiters: Sequence[Waiter], if_lost: type[RaftSwarmError]) -> int:
        """Return a token for the member to answer a read or a transfer by."""
        token = self._next_token
        self._next_token += 1
        self._asked[token] = _Asked(waiters, if_lost)
        return token

    def expect_proposals(self, proposals: Proposals) -> int:
        """Return a token for the member to answer proposals by; if it never does, their outcome is unknown."""
        token = self._next_token
        self._next_token += 1
        self._proposed[token] = proposals
        return token

    # What the member answers.

    def answer_proposal(self, outcome: ProposalOutcome) -> None:
        """It is in the log, or refused."""
        proposals = self._proposed.pop(outcome.token)
        if outcome.refused:
            proposals.fail_from(0, self._refusal(outcome))
        else:
            self._appended.append(_Appended(outcome.index, outcome.term, proposals))

    def answer_read(self, outcome: ReadOutcome) -> None:
        """Its index is known, or nobody could tell it."""
        waiters = self._asked.pop(outcome.token).waiters
        if outcome.refused:
            fail_all(waiters, self._refusal(outcome))
        else:
            self._reads.extend((outcome.index, waiter) for waiter in waiters)

    def answer_transfer(self, outcome: TransferOutcome) -> None:
        """Somebody else leads, or it did not come to that."""
        for waiter in self._asked.pop(outcome.token).waiters:
            if outcome.failed:
                waiter.fail(TransferFailed(outcome.failed, outcome.leader or None))
            else:
                waiter.complete(outcome.leader)

    def _refusal(self, outcome: ProposalOutcome | ReadOutcome) -> RaftSwarmError:
        """Sent to the wrong member, or refused by the leader itself: too much in flight, a change at a bad moment."""
        if outcome.leader == self._member.id:
            return Overloaded(outcome.refused)
        return self.not_leader(outcome.refused, outcome.leader)

    def not_leader(self, reason: str, leader: int) -> NotLeader:
        """Return the error that says whom to ask instead."""
        info = self._member.configuration.member(leader) if leader else None
        if info is None:
            return NotLeader(reason, leader or None)
        who = f"{info.name} at {info.address}" if info.name else info.address
        return NotLeader(f"{reason}: ask {who}", leader, info.address, info.name)

    # What is applied.

    def take_proposals(self, entry: Entry) -> Proposals:
        """Return who proposed this entry here; those of entries that were replaced at their index learn that."""
        while self._appended and self._appended[0].index <= entry.index:
            appended = self._appended.popleft()
            if (appended.index, appended.term) == (entry.index, entry.term):
                return appended.proposals
            self._member.because(ReplicaRule.ANOTHERS_ENTRY)
            appended.proposals.fail_from(0, OutcomeUnknown("another leader's entry took its place"))
        return NO_PROPOSALS

    def complete_reads(self, applied_index: int) -> None:
        """The state machine has come that far."""
        while self._reads and self._reads[0][0] <= applied_index:
            index, waiter = self._reads.popleft()
            waiter.complete(index)

    # What is lost.

    def lose_through(self, index: int, error: RaftSwarmError) -> None:
        """Nobody will know what became of the proposals up to there."""
        while self._appended and self._appended[0].index <= index:
            self._member.because(ReplicaRule.SNAPSHOT_OVER_CALLS)
            self._appended.popleft().proposals.fail_from(0, error)

    def lose_earlier_terms(self, leadership: Leadership) -> None:
        """Answer proposals of a leadership that has ended: they may still be committed by the next leader.

        Those that are committed already are answered when they are applied.
        """
        committed = self._member.commit_index
        appended, self._appended = self._appended, deque()
        for entry in appended:
            if entry.index <= committed or (leadership.is_leader and entry.term == leadership.term):
                self._appended.append(entry)
            else:
                self._member.because(ReplicaRule.LEADERSHIP_LOST)
                entry.proposals.fail_from(0, OutcomeUnknown("leadership was lost while it was being committed"))

    def lose_all(self, reason: str) -> None:
        """The member answers nothing more, and nothing more is applied."""
        for asked in self._asked.values():
            fail_all(asked.waiters, asked.if_lost(reason))
        self._asked.clear()
        for proposals in self._proposed.values():
            proposals.fail_from(0, OutcomeUnknown(reason))
        self._proposed.clear()
        while self._appended:
            self._appended.popleft().proposals.fail_from(0, OutcomeUnknown(reason))
        while self._reads:
            self._reads.popleft()[1].fail(NotLeader(reason))
