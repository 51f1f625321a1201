"""Who did what no member may do: every decision is judged as it is made, by the facts that the engine tells with it.

The one big idea: `Invariants` see that something does not hold, often long after and at somebody else. What is found
here is the decision that led to it, with the section that forbids it. It is found from what the engine tells, and where
that leaves something open it is taken to be in order: a sound engine is never accused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final, TypeVar

import attrs

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.sentences import Sentence
from raftswarm.lab.steps import Step
from raftswarm.raft.roles import Leader
from raftswarm.raft.tracing import RULE, TracedMessage, TraceEvent

_Key = TypeVar("_Key")
_Facts = Mapping[str, object]
_Voters = tuple[tuple[str, ...], tuple[str, ...]]
"""And the old ones of a joint configuration."""


@attrs.frozen
class Accused:
    """What somebody did, and what forbids it."""

    text: str
    section: str


@attrs.define(eq=False)
class _Vote:
    """Given by a member in a term."""

    candidate: int
    step: int
    has_left: bool = False
    """Somebody has heard of it: it outlives its voter's end, as it was on disk before."""


MOST_SHOWN: Final = 6
FIRST_COMMITS: Final = {
    "READS_CONFIRMED": ("answered reads", "dissertation 6.4 lets them wait for that"),
    "READS_BY_LEASE": ("answered reads by its lease", "dissertation 6.4 lets them wait for that"),
    "CHANGE_IN_ONE_STEP": ("changed the members", "dissertation 4.1 allows it only behind that"),
    "JOINT_ENTERED": ("changed the members", "dissertation 4.1 allows it only behind that"),
}
"""What a leader may do only when it has committed an entry of its own term: until then it does not know what is."""


@attrs.define(eq=False)
class Accuser:
    """Follows all members of a run."""

    _found: dict[tuple[int, str], list[Sentence]] = attrs.field(factory=dict)
    """By member and section: what is done again and again is one thing."""
    _votes: dict[tuple[int, int], _Vote] = attrs.field(factory=dict)
    """By voter and term: the first that counts."""
    _heard_votes: dict[tuple[int, int], set[str]] = attrs.field(factory=dict)
    """By candidate and term."""
    _acknowledged: dict[tuple[int, int, int], int] = attrs.field(factory=dict)
    """By leader, term and follower: the highest entry."""
    _compared: dict[tuple[int, int], int] = attrs.field(factory=dict)
    """By follower and term: how far its log is known to be its leader's."""
    _append: dict[int, tuple[TracedMessage, int]] = attrs.field(factory=dict)
    """By follower: the last entries that it took in, and how far it had compared before."""
    _promised: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    """By follower: in which term it acknowledged entries last since it started, and up to which."""
    _first_commits: dict[tuple[int, int], int] = attrs.field(factory=dict)
    """By leader and term: where it first committed an entry of its own."""
    _before_change: dict[int, _Voters] = attrs.field(factory=dict)
    """By leader that is about to append a change in one step: the members before it."""

    def hear(self, step: Step, event: TraceEvent) -> None:
        """Take in what a member tells."""
        member = int(event.member)
        for one in self._judge(step.number, member, event):
            same = self._found.setdefault((member, one.section), [])
            same.append(Sentence(step.number, step.at, one.text, member, one.section))

    def look(self, step: Step, world: CoreWorld) -> None:
        """See what members that do nothing wait for."""
        for member in world.running:
            process = world.process(member).member
            match process.role:
                case Leader(uncommitted_bytes=waiting) if waiting and process.commit_index == process.last_index:
                    text = (
                        f"leads term {process.term}, and takes no more than fits beside {waiting:,} bytes that it "
                        f"counts as not committed; and all of its log, up to entry {process.last_index}, is committed"
                    )
                    section = "it waits for nothing"
                    self._found.setdefault((member, section), []).append(
                        Sentence(step.number, step.at, text, member, section)
                    )
                case _:
                    pass

    def tell(self) -> list[Sentence]:
        """Return what was found, the newest of what was done several times; in the order of their steps."""
        told = []
        for same in self._found.values():
            last = same[-1]
            text = f"{last.text}, in step {last.step}"
            if len(same) > 1:
                text += f", not for the first time: {len(same)} times since step {same[0].step}"
            told.append(Sentence(last.step, last.at, text, last.member, last.section))
        return sorted(told, key=lambda one: one.step)[-MOST_SHOWN:]

    def _judge(self, step: int, member: int, event: TraceEvent) -> Iterator[Accused]:
        if event.name == RULE:
            yield from self._judge_rule(step, member, event, event.prop)
        elif event.message is not None:
            if event.name.startswith("Receive"):
                self._take_in(member, event.message)
            else:
                yield from self._judge_sent(member, event, event.message)
        elif event.name == "InitState":
            self._forget_votes(member)
            self._promised.pop(member, None)
        elif event.name in {"ChangeConf", "ApplyConfChange"} and member in self._before_change:
            yield from _judge_change(self._before_change.pop(member), event.conf)

    # Messages.

    def _take_in(self, member: int, message: TracedMessage) -> None:
        term, sender = message.term, int(message.sender)
        match message.type:
            case "MsgVote":
                self._has_left(sender, term, sender)
            case "MsgVoteResp" if not message.reject:
                self._heard_votes.setdefault((member, term), set()).add(message.sender)
                self._has_left(sender, term, member)
            case "MsgAppResp" if not message.reject:
                _raise(self._acknowledged, (member, term, sender), message.index)
            case "MsgApp":
                self._append[member] = message, self._compared.get((member, term), 0)
                _raise(self._compared, (member, term), message.index + message.entries)
            case "MsgSnap":
                _raise(self._compared, (member, term), message.entries)
            case _:
                pass

    def _has_left(self, voter: int, term: int, candidate: int) -> None:
        vote = self._votes.get((voter, term))
        if vote is not None and vote.candidate == candidate:
            vote.has_left = True

    def _forget_votes(self, member: int) -> None:
        """It starts anew: what nobody has heard of need not have been on its disk."""
        for voter, term in [key for key, vote in self._votes.items() if key[0] == member and not vote.has_left]:
            del self._votes[voter, term]

    def _judge_sent(self, member: int, event: TraceEvent, message: TracedMessage) -> Iterator[Accused]:
        term, to = message.term, int(message.to)
        match message.type:
            case "MsgHeartbeat" if message.commit > (known := self._acknowledged.get((member, term, to), 0)):
                yield Accused(
                    f"told member {to} with a heartbeat that entry {message.commit} is committed, and knew only up to "
                    f"entry {known} that its log is the same",
                    "Figure 2: min(leaderCommit, what was compared)",
                )
            case "MsgAppResp" if not message.reject and to != member:
                of_term, index = self._promised.get(member, (term, 0))
                self._promised[member] = term, max(message.index, index if of_term == term else 0)
                compared = max(self._compared.get((member, term), 0), event.state.commit)
                if message.index > compared:
                    yield Accused(
                        f"acknowledged its log to member {to} up to entry {message.index}, and had compared it with "
                        f"that leader's only up to entry {compared}",
                        "5.3 allows it only where they agree",
                    )
            case _:
                pass

    # Decisions.

    def _judge_rule(self, step: int, member: int, event: TraceEvent, facts: _Facts) -> Iterator[Accused]:
        rule, term = str(facts["rule"]), event.state.term
        if rule in FIRST_COMMITS:
            yield from self._judge_first_commit(member, term, facts)
        match rule:
            case "VOTE_GIVEN" | "VOTE_REPEATED" | "CAMPAIGN" | "CAMPAIGN_FOR_TRANSFER":
                yield from self._judge_vote(step, member, facts)
            case "ELECTION_WON":
                voters = self._heard_votes.get((member, term), set()) | {event.member}
                if told := _find_minority(event.conf, voters):
                    yield Accused(f"took term {term} for won with {told}", "5.2 asks for a majority")
            case "COMMITS":
                yield from self._judge_commit(member, event, facts)
            case "LEARNS_COMMIT" if _number(facts["index"]) > (known := self._compared.get((member, term), 0)):
                yield Accused(
                    f"took its entries up to {facts['index']} for committed, and had compared its log with that of the "
                    f"leader of term {term} only up to entry {known}: what lies behind may be others",
                    "Figure 2, AppendEntries 5, forbids it",
                )
            case "LOGS_DIFFER" if member in self._append:
                message, before = self._append[member]
                self._compared[member, message.term] = before
            case "CONFLICT_CUT":
                yield from self._judge_cut(member, event, facts)
            case "CHANGE_IN_ONE_STEP":
                self._before_change[member] = event.conf
            case "READS_BY_LEASE" if float(str(facts["left_seconds"])) <= 0:
                yield Accused(
                    "answered reads without asking anybody and without a lease", "dissertation 6.4 forbids it"
                )
            case _:
                pass

    def _judge_first_commit(self, member: int, term: int, facts: _Facts) -> Iterator[Accused]:
        """Only behind its first commit a leader knows what is; a read keeps the index that it began with."""
        known = self._first_commits.get((member, term))
        if known is None or _number(facts.get("index", known)) < known:
            done, forbids = FIRST_COMMITS[str(facts["rule"])]
            at = f" with index {facts['index']}, from" if "index" in facts else ""
            yield Accused(f"{done}{at} before it had committed any entry of its term {term}", forbids)

    def _judge_vote(self, step: int, member: int, facts: _Facts) -> Iterator[Accused]:
        term = _number(facts["term"])
        candidate = _number(facts.get("candidate", member))  # A campaign is a vote for itself.
        first = self._votes.setdefault((member, term), _Vote(candidate, step))
        if first.candidate != candidate:
            yield Accused(
                f"voted twice in term {term}: for member {first.candidate} in step {first.step}, and for member "
                f"{candidate}",
                "5.2 allows one vote a term",
            )
        if facts["rule"] == "VOTE_GIVEN":
            own, others = _end_of_log(facts, "last_term", "last_index"), _end_of_log(facts, "of_term", "index")
            if own > others:
                yield Accused(
                    f"gave its vote in term {term} to member {candidate}, whose log ends with entry {others[1]} of "
                    f"term {others[0]} and so before its own, which ends with {own[1]} of term {own[0]}",
                    "5.4.1 forbids it",
                )

    def _judge_commit(self, member: int, event: TraceEvent, facts: _Facts) -> Iterator[Accused]:
        index, of_term, term = (_number(facts[name]) for name in ("index", "of_term", "term"))
        if of_term == term:
            self._first_commits.setdefault((member, term), index)
        else:
            yield Accused(
                f"committed entry {index} of the earlier term {of_term} by counting who has it; a later leader may "
                "still overwrite that",
                "5.4.2 and Figure 8 forbid it",
            )
        holders = {
            str(peer)
            for (leader, of, peer), acknowledged in self._acknowledged.items()
            if (leader, of) == (member, term) and acknowledged >= index
        }
        if told := _find_minority(event.conf, holders | {event.member}):
            yield Accused(f"committed entry {index} that was on the disks of {told}", "5.3 asks for a majority")

    def _judge_cut(self, member: int, event: TraceEvent, facts: _Facts) -> Iterator[Accused]:
        first, last = _number(facts["first"]), _number(facts["last"])
        if first <= event.state.commit:
            yield Accused(f"cut entries {first} to {last} from its log, of which some are committed", "5.4 forbids it")
            return
        term, index = self._promised.get(member, (0, 0))
        if term == event.state.term and first <= index:
            yield Accused(
                f"cut entries {first} to {last} from its log, and had acknowledged it up to entry {index} to the "
                f"leader of the same term {term}: a late message must cut nothing",
                "Figure 2, AppendEntries 3: only entries that conflict",
            )
        elif member in self._append:
            message, _ = self._append[member]
            end = message.index + message.entries
            if first > end:
                yield Accused(
                    f"cut entries {first} to {last} from its log for a message that spoke only of entries up to {end}",
                    "Figure 2, AppendEntries 3: only entries that conflict",
                )


def _judge_change(old: _Voters, new: _Voters) -> Iterator[Accused]:
    """Look for majorities of the voters before and after one step that have nobody in common."""
    if old[1] or new[1]:
        return
    for one in _majorities(old[0]):
        for other in _majorities(new[0]):
            if not {*one} & {*other}:
                yield Accused(
                    f"changed the voters from {_list(old[0])} to {_list(new[0])} in one step: {_list(one)} are a "
                    f"majority of the old ones, {_list(other)} of the new ones, and both can decide at the same time",
                    "dissertation 4.1, 4.3: only by a joint configuration",
                )
                return


def _majorities(voters: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return combinations(voters, len(voters) // 2 + 1)


def _find_minority(configuration: _Voters, members: Collection[str]) -> str:
    """Return words for those of the members who are no majority of the voters; empty if they are one of all."""
    for kind, voters in zip(("", "old "), configuration, strict=True):
        among = [voter for voter in voters if voter in members]
        if voters and 2 * len(among) <= len(voters):
            return f"{_list(among) or 'nobody'} of the {kind}voters {_list(voters)}"
    return ""


def _list(members: Iterable[str]) -> str:
    return ", ".join(sorted(members, key=int))


def _raise(highest: dict[_Key, int], key: _Key, value: int) -> None:
    highest[key] = max(highest.get(key, 0), value)


def _number(fact: object) -> int:
    return int(str(fact))


def _end_of_log(facts: _Facts, term: str, index: str) -> tuple[int, int]:
    return _number(facts[term]), _number(facts[index])
