"""Whoever waits for an answer gets exactly one, whatever becomes of the call."""

from __future__ import annotations

from typing import cast

import attrs
import pytest

from raftswarm.consensus.pending_calls import PendingCalls
from raftswarm.consensus.proposals import Proposals
from raftswarm.errors import NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError, TransferFailed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.member import Member
from raftswarm.raft.ready import Leadership, ProposalOutcome, ReadOutcome, TransferOutcome
from raftswarm.raft.rules import NamedRule

ALICE, BOB = 1, 2
LEADS_ON = Leadership(term=3, leader=ALICE, is_leader=True)
FOLLOWS = Leadership(term=4, leader=BOB, is_leader=False)


@attrs.define
class FakeMember:
    """Alice, as far as pending calls look at her."""

    id: int = ALICE
    commit_index: int = 0
    configuration: Configuration = Configuration(voters=(MemberInfo(id=BOB, address="host:2", name="bob"),))

    def because(self, rule: NamedRule, **facts: object) -> None:
        """Nobody asks."""


@attrs.define
class Caller:
    answers: list[object] = attrs.field(factory=list)
    """Results, and kinds and words of errors."""

    def complete(self, result: object) -> None:
        self.answers.append(result)

    def fail(self, error: RaftSwarmError) -> None:
        self.answers.append((type(error), str(error)))


@pytest.fixture
def member() -> FakeMember:
    return FakeMember()


@pytest.fixture
def pending(member: FakeMember) -> PendingCalls:
    return PendingCalls(cast("Member", member))


def append(pending: PendingCalls, index: int, term: int = 3) -> Caller:
    caller = Caller()
    pending.answer_proposal(ProposalOutcome(pending.expect_proposals(Proposals.of_one(caller)), index=index, term=term))
    return caller


def entry(index: int, term: int = 3) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=1)


def test_proposals_are_known_by_index_and_term(pending: PendingCalls) -> None:
    replaced, ours = append(pending, 5, term=2), append(pending, 6)

    pending.take_proposals(entry(6)).settle(0, ["applied"], {})

    assert replaced.answers == [(OutcomeUnknown, "another leader's entry took its place")]
    assert ours.answers == ["applied"]
    assert pending.count == 0


def test_a_refusal_names_who_leads(pending: PendingCalls) -> None:
    caller = Caller()

    token = pending.expect_proposals(Proposals.of_one(caller))
    pending.answer_proposal(ProposalOutcome(token, refused="this member does not lead", leader=BOB))

    assert caller.answers == [(NotLeader, "this member does not lead: ask bob at host:2")]


def test_what_the_leader_itself_refuses_may_be_tried_again(pending: PendingCalls) -> None:
    caller = Caller()

    pending.answer_read(ReadOutcome(pending.expect([caller], NotLeader), refused="too many", leader=ALICE))

    assert caller.answers == [(Overloaded, "too many")]


def test_a_read_waits_until_its_index_is_applied(pending: PendingCalls) -> None:
    caller = Caller()
    pending.answer_read(ReadOutcome(pending.expect([caller], NotLeader), index=7))

    pending.complete_reads(6)
    assert caller.answers == []

    pending.complete_reads(7)
    assert caller.answers == [7]


def test_a_transfer_ends_with_who_leads_or_why_nobody_else_does(pending: PendingCalls) -> None:
    done, failed = Caller(), Caller()

    pending.answer_transfer(TransferOutcome(pending.expect([done], TransferFailed), leader=BOB))
    pending.answer_transfer(TransferOutcome(pending.expect([failed], TransferFailed), failed="too late", leader=ALICE))

    assert done.answers == [BOB]
    assert failed.answers == [(TransferFailed, "too late")]


def test_with_leadership_goes_what_is_not_committed(member: FakeMember, pending: PendingCalls) -> None:
    committed, open_ = append(pending, 5), append(pending, 6)
    member.commit_index = 5

    pending.lose_earlier_terms(LEADS_ON)
    assert open_.answers == []

    pending.lose_earlier_terms(FOLLOWS)
    assert open_.answers == [(OutcomeUnknown, "leadership was lost while it was being committed")]

    pending.take_proposals(entry(5)).settle(0, ["applied"], {})
    assert committed.answers == ["applied"]


def test_a_snapshot_leaves_what_is_behind_it(pending: PendingCalls) -> None:
    covered, behind = append(pending, 5), append(pending, 6)

    pending.lose_through(5, OutcomeUnknown("covered"))

    assert covered.answers == [(OutcomeUnknown, "covered")]
    assert behind.answers == []


def test_in_the_end_each_is_told_what_it_means_for_it(pending: PendingCalls) -> None:
    proposal, read, appended, waiting = Caller(), Caller(), append(pending, 5), Caller()
    pending.expect_proposals(Proposals.of_one(proposal))
    pending.expect([read], if_lost=NotLeader)
    pending.answer_read(ReadOutcome(pending.expect([waiting], NotLeader), index=9))

    pending.lose_all("stopping")
    pending.lose_all("again")

    assert [caller.answers for caller in (proposal, read, appended, waiting)] == [
        [(OutcomeUnknown, "stopping")],
        [(NotLeader, "stopping")],
        [(OutcomeUnknown, "stopping")],
        [(NotLeader, "stopping")],
    ]
    assert pending.count == 0
