"""A traced member names the rule by which it decides, with the section of the paper where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

import pytest

from raftswarm.raft.events import Event, ReadBarrier, Receive, TimePassed, Written
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    RequestVote,
    VoteReply,
)
from raftswarm.raft.rules import NamedRule, Rule
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.tracing import TraceEvent, json_lines

Told = tuple[str, str, str]
"""Rule, section, sentence."""

GIVEN = "gives its vote in term 5 to member 2, whose log ends with entry 2 of term 4; its own ends with 2 of term 4"
LATER_LOG = "refuses its vote in term 5 to member 2: its own log ends later, with entry 2 of term 4, not 7 of term 3"


class Explained:
    """Member 1 of three, at the end of term 5 with a log of two entries; it says why it does what it does."""

    def __init__(self, *, voted_for: int = 0, lease_reads: bool = False) -> None:
        self._events: list[TraceEvent] = []
        members = Configuration(voters=tuple(MemberInfo(id=voter) for voter in (1, 2, 3)))
        entries = tuple(Entry(index=n, term=n + 2, kind=EntryKind.BLANK, first_command=1) for n in (1, 2))
        start = StartingState(
            member_id=1,
            cluster="test",
            boot=1,
            hard_state=HardState(term=5, voted_for=voted_for),
            snapshot=SnapshotMeta(configuration=members),
            entries=entries,
        )
        settings = RaftSettings(pre_vote=False, lease_reads=lease_reads)
        self.member = Member(start, settings=settings, chance=Random(1), now=0.0, trace=self._events.append)
        self.member._core.is_trusted = True

    def tell(self, *happened: Event | AnyMessage, now: float = 0.0) -> list[Told]:
        """Let it happen; return the rules that were named."""
        del self._events[:]
        for event in happened:
            self.member.step(event if not isinstance(event, AnyMessage) else Receive(event), now)
            while write := self.member.take_ready().write:
                self.member.step(Written(write.number, write.last_term, write.last_index), now)
        rules = [event.prop for event in self._events if event.name == "Rule"]
        return [(str(told["rule"]), str(told["section"]), str(told["because"])) for told in rules]


def ask(candidate: int = 2, *, term: int = 5, last_index: int = 2, last_term: int = 4) -> RequestVote:
    return RequestVote(sender=candidate, to=1, term=term, last_index=last_index, last_term=last_term)


def heartbeat(leader: int) -> Heartbeat:
    return Heartbeat(sender=leader, to=1, term=5, commit=0)


def append(*terms: int, term: int = 5, previous: tuple[int, int] = (2, 4), commit: int = 0) -> AppendEntries:
    index = previous[0]
    entries = tuple(
        Entry(index=index + n, term=of, kind=EntryKind.BLANK, first_command=1) for n, of in enumerate(terms, start=1)
    )
    return AppendEntries(
        sender=2, to=1, term=term, previous_index=index, previous_term=previous[1], entries=entries, commit=commit
    )


@pytest.mark.parametrize(
    ("voted_for", "request_", "told"),
    [
        (
            0,
            ask(),
            ("VOTE_GIVEN", "5.2, 5.4.1", GIVEN),
        ),
        (2, ask(), ("VOTE_REPEATED", "5.2", "gives its vote in term 5 to member 2 again: it is the one it voted for")),
        (3, ask(), ("VOTE_REFUSED", "5.2", "refuses its vote in term 5 to member 2: it voted for member 3")),
        (
            0,
            ask(term=4),
            ("VOTE_REFUSED", "5.1", "refuses its vote in term 4 to member 2: that term is over, it is in term 5"),
        ),
        (
            0,
            ask(last_index=7, last_term=3),
            (
                "VOTE_REFUSED",
                "5.4.1",
                LATER_LOG,
            ),
        ),
    ],
)
def test_a_vote_is_given_or_refused_by_a_rule(voted_for: int, request_: RequestVote, told: Told) -> None:
    assert Explained(voted_for=voted_for).tell(request_) == [told]


def test_an_election_is_told_from_the_timer_to_the_votes() -> None:
    candidate = Explained()
    vote = VoteReply(sender=3, to=1, term=6, granted=True)

    told = candidate.tell(TimePassed(), vote, now=10.0)

    assert [(rule, section) for rule, section, _ in told] == [
        ("TIMED_OUT", "5.2"),
        ("CAMPAIGN", "5.2"),
        ("ELECTION_WON", "5.2"),
    ]
    assert told[-1][2] == "wins term 6 with the votes of members 1, 3, a majority"


def test_who_hears_a_leader_ignores_candidates_and_refuses_pre_votes() -> None:
    follower = Explained()
    [(rule, *_)] = follower.tell(heartbeat(2))

    ignored = follower.tell(ask(3, term=6))
    refused = follower.tell(PreVote(sender=3, to=1, term=6, last_index=2, last_term=4))

    assert rule == "FOLLOWS"
    assert [told[:2] for told in ignored + refused] == [
        ("VOTE_IGNORED", "dissertation 4.2.3"),
        ("PRE_VOTE_REFUSED", "dissertation 9.6"),
    ]
    assert refused[0][2].endswith("it hears from leader 2")


def test_a_log_that_differs_is_refused_and_then_cut() -> None:
    follower = Explained()

    told = follower.tell(append(5, previous=(2, 3)), append(5, previous=(1, 3), commit=2))

    assert [(rule, section) for rule, section, _ in told[1:]] == [
        ("LOGS_DIFFER", "5.3"),
        ("CONFLICT_CUT", "5.3"),
        ("LEARNS_COMMIT", "5.3"),
    ]
    assert told[1][2] == "refuses entries behind 2 of term 3: its own entry there is of term 4"
    assert told[2][2] == "cuts its log from entry 2 to 2: the leader has others there"


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    leader = Explained()
    leader.tell(TimePassed(), VoteReply(sender=3, to=1, term=6, granted=True), now=10.0)

    [held, *_] = leader.tell(AppendReply(sender=2, to=1, term=6, success=True, match_index=2), now=10.0)
    [commits] = leader.tell(AppendReply(sender=2, to=1, term=6, success=True, match_index=3), now=10.0)

    assert held == (
        "COMMIT_HELD_BACK",
        "5.4.2, Figure 8",
        "does not commit entry 2 by counting: it is of term 4, not its own",
    )
    assert commits == (
        "COMMITS",
        "5.3, 5.4.2",
        "commits up to entry 3 of term 6, while it leads term 6: a majority has that on disk",
    )


def test_reads_are_answered_when_a_majority_has_heard_the_leader_since() -> None:
    leader = Explained()
    leader.tell(TimePassed(), VoteReply(sender=3, to=1, term=6, granted=True), now=10.0)
    leader.tell(AppendReply(sender=2, to=1, term=6, success=True, match_index=3), now=10.0)

    waits = leader.tell(ReadBarrier(1), now=10.0)
    answers = leader.tell(HeartbeatReply(sender=2, to=1, term=6, round=9), now=10.01)

    assert waits == []
    assert [told for told in answers if told[0] == "READS_CONFIRMED"] == [
        (
            "READS_CONFIRMED",
            "dissertation 6.4",
            "answers reads with index 3: since then a majority heard it lead term 6",
        )
    ]


def test_with_a_lease_reads_are_answered_at_once() -> None:
    leader = Explained(lease_reads=True)
    leader.tell(TimePassed(), VoteReply(sender=3, to=1, term=6, granted=True), now=10.0)
    leader.tell(AppendReply(sender=2, to=1, term=6, success=True, match_index=3), now=10.0)
    leader.tell(TimePassed(), now=10.2)
    leader.tell(HeartbeatReply(sender=2, to=1, term=6, round=9, promise_seconds=1.0), now=10.21)

    [(rule, section, because)] = leader.tell(ReadBarrier(1), now=10.3)

    assert (rule, section) == ("READS_BY_LEASE", "dissertation 6.4.1")
    assert because == "answers reads with index 3 at once, by a lease of 0.809091 s more"


def test_a_later_term_and_an_earlier_one_are_told() -> None:
    member = Explained()

    told = member.tell(append(term=7), append(term=6))

    assert [rule for rule, *_ in told] == ["LATER_TERM", "FOLLOWS", "EARLIER_TERM"]
    assert told[0][2] == "goes from term 5 to term 7, of which AppendEntries of member 2 tells it"


def test_what_is_dropped_is_told_with_the_reason() -> None:
    member = Explained()

    told = member.tell(heartbeat(2), heartbeat(3))

    assert told[-1] == ("DROPPED", "Figure 2", "drops a Heartbeat from member 3 in term 5: member 2 leads this term")


def test_every_rule_names_its_section_and_is_a_sentence() -> None:
    for rule in Rule:
        assert rule.section
        assert not rule.value[1].endswith(".")


def test_rules_are_heard_without_a_trace_too() -> None:
    heard: list[tuple[NamedRule, Mapping[str, object]]] = []
    explained = Explained()
    explained.member._core.trace = None
    explained.member._core.named = lambda rule, facts: heard.append((rule, facts))

    explained.tell(ask(term=4), ask(last_index=7, last_term=3), ask())

    assert [(rule, facts.get("case")) for rule, facts in heard] == [
        (Rule.VOTE_REFUSED, "EARLIER_TERM"),
        (Rule.VOTE_REFUSED, "LOG"),
        (Rule.VOTE_GIVEN, None),
    ]


def test_a_refusal_that_leads_back_over_terms_says_so() -> None:
    leader = Explained()
    leader.tell(TimePassed(), VoteReply(sender=3, to=1, term=6, granted=True), now=10.0)
    cases: list[object] = []
    leader.member._core.named = lambda rule, facts: cases.append(facts["case"]) if rule is Rule.BACKS_UP else None
    refusal = AppendReply(sender=2, to=1, term=6, success=False, match_index=2, conflict_term=0, conflict_index=1)

    leader.tell(refusal, now=10.0)

    assert cases == ["OVER_TERMS"]


def test_a_trace_for_specifications_is_without_rules() -> None:
    lines: list[bytes] = []
    sink = json_lines(lines.append)
    member = Explained()
    member.member._core.trace = sink

    member.tell(ask())

    assert [json.loads(line)["name"] for line in lines if b'"Rule"' in line] == []
    assert lines
