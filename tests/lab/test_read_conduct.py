"""A read is answered on proof alone (6.4, 6.4.1): each way to it is let pass, and whatever falls short is noticed."""

from __future__ import annotations

from math import inf

import pytest

from raftswarm.lab.invariants import Violation
from raftswarm.lab.read_conduct import ReadConduct
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import AnyMessage, Heartbeat, HeartbeatReply, ReadIndex, ReadIndexReply, TimeoutNow
from raftswarm.raft.ready import ReadOutcome, Ready
from raftswarm.raft.settings import RaftSettings

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4
TERM = 5
READ = 7
BY_LEASE = RaftSettings(lease_reads=True, clock_drift=0.0)
T = BY_LEASE.election_seconds


def members(*voters: int, outgoing: tuple[int, ...] = ()) -> Configuration:
    return Configuration(
        voters=tuple(MemberInfo(id=voter) for voter in voters),
        outgoing=tuple(MemberInfo(id=voter) for voter in outgoing),
    )


class Leader:
    """Alice, as those who watch her see her."""

    def __init__(self, configuration: Configuration | None = None, settings: RaftSettings | None = None) -> None:
        self.configuration = configuration or members(ALICE, BOB, CAROL)
        self.conduct = ReadConduct(ALICE, settings or RaftSettings(), self.configuration)
        self.now = 0.0
        self.lease_from = -inf

    def hand_out(self, *messages: AnyMessage, reads: tuple[ReadOutcome, ...] = ()) -> None:
        ready = Ready(messages=messages, reads=reads)
        self.conduct.handed_out(ready, self.lease_from, self.configuration, self.now)

    def beat(self, round_: int, term: int = TERM) -> None:
        self.hand_out(Heartbeat(sender=ALICE, to=BOB, term=term, commit=0, round=round_))

    def hear(self, sender: int, round_: int, term: int = TERM) -> None:
        self.conduct.heard(HeartbeatReply(sender=sender, to=ALICE, term=term, round=round_))

    def answer(self) -> None:
        self.hand_out(reads=(ReadOutcome(READ, index=3),))


@pytest.fixture
def leader() -> Leader:
    return Leader()


def test_a_read_is_confirmed_by_a_quorum_that_answers_what_left_after_it(leader: Leader) -> None:
    leader.conduct.asked(READ)
    leader.beat(1)
    leader.hear(BOB, 1)

    leader.answer()


def test_a_read_that_nobody_confirmed_is_noticed(leader: Leader) -> None:
    leader.conduct.asked(READ)
    leader.beat(1)

    with pytest.raises(Violation, match="21: 1 answers a read of its own, and no quorum has confirmed"):
        leader.answer()


def test_what_left_before_the_read_confirms_nothing(leader: Leader) -> None:
    leader.beat(1)
    leader.conduct.asked(READ)
    leader.hear(BOB, 1)
    leader.hear(CAROL, 1)

    with pytest.raises(Violation, match="21"):
        leader.answer()


def test_answers_of_an_earlier_term_confirm_nothing(leader: Leader) -> None:
    leader.conduct.asked(READ)
    leader.beat(1, term=TERM - 1)
    leader.hear(BOB, 1, term=TERM - 1)
    leader.beat(1)

    with pytest.raises(Violation, match="21"):
        leader.answer()


def test_in_a_joint_configuration_both_majorities_have_to_answer() -> None:
    leader = Leader(members(ALICE, BOB, CAROL, outgoing=(ALICE, DAVE)))
    leader.conduct.asked(READ)
    leader.beat(1)
    leader.hear(BOB, 1)

    with pytest.raises(Violation, match="21"):
        leader.answer()

    leader.hear(DAVE, 1)
    leader.conduct.asked(READ)
    leader.beat(2)
    leader.hear(BOB, 2)
    leader.hear(DAVE, 2)
    leader.answer()


def test_a_single_voter_asks_nobody() -> None:
    leader = Leader(members(ALICE))
    leader.conduct.asked(READ)

    leader.answer()


def test_what_is_refused_needs_no_proof(leader: Leader) -> None:
    leader.conduct.asked(READ)

    leader.hand_out(reads=(ReadOutcome(READ, refused="nobody leads"),))


def test_others_answer_when_a_leader_has(leader: Leader) -> None:
    leader.conduct.asked(READ)
    leader.conduct.told()

    leader.answer()


def test_a_leaders_answer_to_an_earlier_question_confirms_nothing(leader: Leader) -> None:
    leader.conduct.told()
    leader.conduct.asked(READ)

    with pytest.raises(Violation, match="21"):
        leader.answer()


def test_requests_of_others_count_from_when_they_were_first_heard(leader: Leader) -> None:
    request = ReadIndex(sender=BOB, to=ALICE, term=TERM, number=9)
    reply = ReadIndexReply(sender=ALICE, to=BOB, term=TERM, number=9, index=3)
    leader.conduct.requested(request)
    leader.beat(1)
    leader.conduct.requested(request)
    leader.hear(CAROL, 1)

    leader.hand_out(reply)

    leader.conduct.requested(ReadIndex(sender=BOB, to=ALICE, term=TERM, number=10))
    with pytest.raises(Violation, match="21: 1 answers request 10 of 2"):
        leader.hand_out(ReadIndexReply(sender=ALICE, to=BOB, term=TERM, number=10, index=3))


# Leases.


def with_lease() -> Leader:
    """Its heartbeats left at 1.0 and were answered at 1.3."""
    leader = Leader(settings=BY_LEASE)
    leader.now = 1.0
    leader.beat(1)
    leader.now = 1.3
    leader.hear(BOB, 1)
    leader.lease_from = 1.0
    leader.hand_out()
    return leader


def test_a_lease_covers_reads_until_the_promises_end() -> None:
    leader = with_lease()
    leader.now = 1.0 + 0.99 * T
    leader.conduct.asked(READ)
    leader.answer()

    leader.now = 1.0 + T
    leader.conduct.asked(READ)
    with pytest.raises(Violation, match="21"):
        leader.answer()


def test_a_lease_that_runs_from_later_than_what_was_answered_is_noticed() -> None:
    leader = with_lease()
    leader.lease_from = 1.1

    with pytest.raises(Violation, match=r"21: 1 has a lease from 1.100000 on, and no quorum has answered"):
        leader.hand_out()


def test_there_is_no_lease_for_who_has_told_another_to_campaign() -> None:
    leader = with_lease()
    leader.hand_out(TimeoutNow(sender=ALICE, to=BOB, term=TERM))
    leader.conduct.asked(READ)

    with pytest.raises(Violation, match="21"):
        leader.answer()
