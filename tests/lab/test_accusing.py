"""Accusations: the decision that a section of the paper forbids is named, and a sound engine is never accused."""

from __future__ import annotations

import pytest

from raftswarm.lab.accusing import Accuser
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.replaying import Replay
from raftswarm.lab.steps import Step, StepLog
from raftswarm.raft.tracing import RULE, TracedMessage, TracedState, TraceEvent
from tests.lab.recorded import drawn

THREE = (("1", "2", "3"), ())
FIVE = (("1", "2", "3", "4", "5"), ())


class Story:
    """Events of members, a step each, and what is made of them."""

    def __init__(self) -> None:
        self._accuser = Accuser()
        self._steps = 0

    def _hear(self, event: TraceEvent) -> None:
        self._steps += 1
        self._accuser.hear(Step(number=self._steps, at=float(self._steps)), event)

    def decides(self, member: int, rule: str, term: int, *, log: int = 9, commit: int = 5, conf: object = THREE, **facts: object) -> None:  # fmt: skip # noqa: E501
        prop = {"term": term, **facts, "rule": rule, "section": "", "because": ""}
        self._hear(event(RULE, member, term, log, commit, conf, None, prop))

    def starts(self, member: int, term: int) -> None:
        self._hear(event("InitState", member, term, 9, 5, THREE, None, {}))

    def changes(self, member: int, term: int, conf: object) -> None:
        self._hear(event("ApplyConfChange", member, term, 9, 5, conf, None, {}))

    def receives(self, kind: str, sender: int, to: int, term: int, **numbers: int | bool) -> None:
        self._hear(event("Receive" + kind, to, term, 9, 0, THREE, message(kind, sender, to, term, numbers), {}))

    def sends(
        self, kind: str, sender: int, to: int, term: int, *, knows_commit: int = 0, **numbers: int | bool
    ) -> None:
        told = message(kind, sender, to, term, numbers)
        self._hear(event("Send" + kind, sender, term, 9, knows_commit, THREE, told, {}))

    @property
    def told(self) -> list[str]:
        return list(map(str, self._accuser.tell()))


def event(name: str, member: int, term: int, log: int, commit: int, conf: object, told: TracedMessage | None, prop: dict[str, object]) -> TraceEvent:  # fmt: skip # noqa: E501
    state = TracedState(term, "0", commit)
    return TraceEvent(name, str(member), state, "", log, conf, told, prop)  # type: ignore[arg-type]


def message(kind: str, sender: int, to: int, term: int, numbers: dict[str, int | bool]) -> TracedMessage:
    return TracedMessage(kind, term, str(sender), str(to), **numbers)  # type: ignore[arg-type]


@pytest.fixture
def story() -> Story:
    return Story()


def only(told: list[str]) -> str:
    [sentence] = told
    return sentence


# Elections.


def test_two_votes_in_a_term(story: Story) -> None:
    vote = {"index": 1, "of_term": 1, "last_index": 1, "last_term": 1}
    story.decides(3, "VOTE_GIVEN", 2, candidate=1, **vote)
    assert story.told == []

    story.decides(3, "VOTE_GIVEN", 2, candidate=2, **vote)

    assert only(story.told) == (
        "member 3 voted twice in term 2: for member 1 in step 1, and for member 2, in step 2 "
        "(5.2 allows one vote a term)"
    )


def test_a_campaign_is_a_vote_for_oneself(story: Story) -> None:
    story.decides(3, "CAMPAIGN", 2)
    story.decides(3, "VOTE_GIVEN", 2, candidate=2, index=1, of_term=1, last_index=1, last_term=1)

    assert "voted twice in term 2: for member 3 in step 1, and for member 2" in only(story.told)


def test_a_vote_for_a_log_that_is_longer_and_older(story: Story) -> None:
    story.decides(1, "VOTE_GIVEN", 5, candidate=2, index=9, of_term=2, last_index=7, last_term=4)

    told = only(story.told)
    assert "whose log ends with entry 9 of term 2 and so before its own, which ends with 7 of term 4" in told
    assert told.endswith("(5.4.1 forbids it)")


def test_an_election_that_is_won_with_half_of_the_votes(story: Story) -> None:
    four = (("1", "2", "3", "4"), ())
    story.receives("MsgVoteResp", 2, 1, 3)
    story.receives("MsgVoteResp", 3, 1, 3, reject=True)

    story.decides(1, "ELECTION_WON", 3, conf=four)

    assert "took term 3 for won with 1, 2 of the voters 1, 2, 3, 4" in only(story.told)


def test_a_joint_election_needs_both_majorities(story: Story) -> None:
    joint = (("1", "2", "3"), ("4", "5"))
    story.receives("MsgVoteResp", 2, 1, 3)

    story.decides(1, "ELECTION_WON", 3, conf=joint)

    assert "took term 3 for won with nobody of the old voters 4, 5" in only(story.told)


def test_a_vote_that_nobody_heard_of_need_not_outlive_its_voter(story: Story) -> None:
    vote = {"index": 1, "of_term": 1, "last_index": 1, "last_term": 1}
    story.decides(3, "CAMPAIGN", 2)
    story.starts(3, 2)
    story.decides(3, "VOTE_GIVEN", 2, candidate=1, **vote)
    assert story.told == []

    story.receives("MsgVoteResp", 3, 1, 2)
    story.starts(3, 2)
    story.decides(3, "VOTE_GIVEN", 2, candidate=2, **vote)

    assert "voted twice in term 2: for member 1 in step 3, and for member 2" in only(story.told)


# The log.


def test_an_earlier_terms_entry_is_committed_by_counting(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)

    story.decides(1, "COMMITS", 4, index=7, of_term=2)

    told = only(story.told)
    assert "committed entry 7 of the earlier term 2 by counting who has it" in told
    assert "(5.4.2 and Figure 8 forbid it)" in told


def test_an_entry_is_committed_that_a_minority_has(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.receives("MsgAppResp", 3, 1, 4, index=6)
    story.receives("MsgAppResp", 4, 1, 3, index=9)

    story.decides(1, "COMMITS", 4, conf=FIVE, index=7, of_term=4)

    assert "committed entry 7 that was on the disks of 1, 2 of the voters 1, 2, 3, 4, 5" in only(story.told)


def test_a_heartbeat_tells_more_than_its_receiver_is_known_to_have(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.sends("MsgHeartbeat", 1, 2, 4, commit=7)
    assert story.told == []

    story.sends("MsgHeartbeat", 1, 2, 4, commit=8)
    story.sends("MsgHeartbeat", 1, 2, 4, commit=9)

    told = only(story.told)
    assert "told member 2 with a heartbeat that entry 9 is committed, and knew only up to entry 7" in told
    assert "in step 4, not for the first time: 2 times since step 3" in told


def test_a_follower_takes_for_committed_what_it_has_not_compared(story: Story) -> None:
    story.receives("MsgApp", 1, 2, 4, index=5, entries=2)
    story.decides(2, "LEARNS_COMMIT", 4, index=7)
    assert story.told == []
    story.receives("MsgApp", 1, 2, 4, index=9, entries=1)
    story.decides(2, "LOGS_DIFFER", 4, index=9)

    story.decides(2, "LEARNS_COMMIT", 4, index=8)

    assert "took its entries up to 8 for committed, and had compared its log" in only(story.told)
    assert "only up to entry 7" in only(story.told)


def test_an_acknowledgement_of_more_than_was_sent(story: Story) -> None:
    story.receives("MsgApp", 1, 2, 4, index=5, entries=2)
    story.sends("MsgAppResp", 2, 1, 4, index=7)
    story.sends("MsgAppResp", 2, 1, 4, index=12, reject=True)
    assert story.told == []

    story.sends("MsgAppResp", 2, 1, 4, index=9)

    assert "acknowledged its log to member 1 up to entry 9, and had compared it" in only(story.told)


def test_a_cut_where_nothing_conflicts(story: Story) -> None:
    story.receives("MsgApp", 1, 2, 4, index=5, entries=2)
    story.decides(2, "CONFLICT_CUT", 4, first=7, last=9)
    assert story.told == []

    story.decides(2, "CONFLICT_CUT", 4, first=8, last=9)

    assert "cut entries 8 to 9 from its log for a message that spoke only of entries up to 7" in only(story.told)


def test_a_cut_of_what_was_acknowledged_in_the_same_term(story: Story) -> None:
    story.receives("MsgApp", 1, 2, 4, index=5, entries=3)
    story.sends("MsgAppResp", 2, 1, 4, index=8)
    story.decides(2, "CONFLICT_CUT", 5, first=7, last=8)
    assert story.told == []

    story.decides(2, "CONFLICT_CUT", 4, first=7, last=8)

    assert "cut entries 7 to 8 from its log, and had acknowledged it up to entry 8" in only(story.told)


def test_after_a_start_an_acknowledgement_need_not_have_left(story: Story) -> None:
    story.receives("MsgApp", 1, 2, 4, index=5, entries=3)
    story.sends("MsgAppResp", 2, 1, 4, index=8)
    story.starts(2, 4)

    story.decides(2, "CONFLICT_CUT", 4, first=7, last=8)

    assert story.told == []


def test_a_cut_of_what_is_committed(story: Story) -> None:
    story.decides(2, "CONFLICT_CUT", 4, commit=8, first=8, last=9)

    assert "of which some are committed" in only(story.told)


# Reads and members.


@pytest.mark.parametrize("rule", ["READS_CONFIRMED", "READS_BY_LEASE", "CHANGE_IN_ONE_STEP", "JOINT_ENTERED"])
def test_before_the_first_commit_of_a_term_nobody_knows_what_is(story: Story, rule: str) -> None:
    story.decides(1, rule, 4, index=5, left_seconds=0.1)

    assert "before it had committed any entry of its term 4" in only(story.told)


def test_a_read_that_began_before_the_first_commit_is_not_answered_behind_it(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.decides(1, "COMMITS", 4, index=7, of_term=4)

    story.decides(1, "READS_CONFIRMED", 4, index=5)

    assert "answered reads with index 5, from before it had committed any entry of its term 4" in only(story.told)


def test_behind_the_first_commit_reads_may_be_answered(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.decides(1, "COMMITS", 4, index=7, of_term=4)
    story.decides(1, "READS_CONFIRMED", 4, index=7)

    assert story.told == []


def test_two_voters_are_replaced_in_one_step(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.decides(1, "COMMITS", 4, index=7, of_term=4)
    story.decides(1, "CHANGE_IN_ONE_STEP", 4)

    story.changes(1, 4, (("1", "2", "4"), ()))

    told = only(story.told)
    assert "changed the voters from 1, 2, 3 to 1, 2, 4 in one step: 1, 3 are a majority of the old ones, 2, 4" in told


def test_one_voter_more_or_less_is_in_order(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.decides(1, "COMMITS", 4, index=7, of_term=4)
    story.decides(1, "CHANGE_IN_ONE_STEP", 4)
    story.changes(1, 4, (("1", "2", "3", "4"), ()))

    assert story.told == []


def test_reads_by_a_lease_that_is_over(story: Story) -> None:
    story.receives("MsgAppResp", 2, 1, 4, index=7)
    story.decides(1, "COMMITS", 4, index=7, of_term=4)
    story.decides(1, "READS_BY_LEASE", 4, index=7, left_seconds=-0.5)

    assert "without asking anybody and without a lease" in only(story.told)


# A sound engine.


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 8])
def test_the_shipped_engine_is_never_accused(seed: int) -> None:
    accuser = Accuser()

    def observe(step: Step, _: CoreWorld) -> None:
        for one in step.engine:
            accuser.hear(step, one)

    Replay(drawn(seed, 8.0), log=StepLog(first=0, observe=observe)).run()

    assert list(map(str, accuser.tell())) == []
