"""Why did this happen? A step in plain sentences, with the sections of the paper that the engine itself names.

The one big idea: nothing is guessed afterwards. The engine says by which rule it decides (`raft.rules`), the world what
arrived and what struck; here that is only put in order, and every message traced back to the step that sent it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.recording import Recording, describe_fault
from raftswarm.lab.replaying import Check, Replay
from raftswarm.lab.steps import MemberState, Step, StepLog, read_states
from raftswarm.raft.rules import MESSAGE_SECTIONS, Rule
from raftswarm.raft.tracing import RULE, TracedMessage, TraceEvent

LONGEST_STORY: Final = 40
ROUTINE: Final = {
    rule.name
    for rule in (
        Rule.COMMITS,
        Rule.LEARNS_COMMIT,
        Rule.LATE_ANSWER,
        Rule.TIMED_OUT,
        Rule.PRE_VOTE,
        Rule.PRE_VOTE_GIVEN,
        Rule.PRE_VOTE_REFUSED,
        Rule.PRE_VOTES_WON,
        Rule.VOTE_IGNORED,
        Rule.LOGS_DIFFER,
        Rule.BACKS_UP,
        Rule.READS_CONFIRMED,
        Rule.READS_BY_LEASE,
    )
}
"""Rules of every day, left out where a story of a failure is told."""
BECOMES: Final = {
    "BecomeFollower": "is a follower",
    "BecomeCandidate": "is a candidate",
    "BecomeLeader": "is the leader",
}


class Sentence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a member did in a step, or that befell it."""

    step: int
    at: float
    text: str
    member: int = 0
    section: str = ""
    """Of the extended Raft paper, unless it says otherwise."""
    rule: str = ""

    def __str__(self) -> str:
        """Render it with its section."""
        subject = f"member {self.member} " if self.member else ""
        return f"{subject}{self.text}" + (f" ({self.section})" if self.section else "")


_Named = tuple[Sentence, Mapping[str, object]]
"""A rule, and the facts that were named with it."""


class Change(msgspec.Struct, frozen=True):
    """What a step made of a member."""

    before: MemberState | None
    after: MemberState


class Explanation(msgspec.Struct, kw_only=True):
    """A step, and why what happened in it happened."""

    step: int
    at: float
    event: str
    sentences: list[Sentence] = []
    changes: list[Change] = []
    violation: str = ""
    contradictions: list[Sentence] = []
    """What no member may have done, as far as this can be told from the rules that were named."""
    story: list[Sentence] = []
    """Of a violation: what led to it."""


def explain(recording: Recording, step: int | None = None, *, check: Check | None = None) -> Explanation:
    """Explain a step; without a number, the one in which the run failed, with what led to it.

    Raises:
        InvalidSpec: the run has no such step, or did not fail.
    """
    if step is None:
        step = _find_failing_step(recording, check)
    watcher = _Watcher(step)
    replay = Replay(recording, log=StepLog(first=0, observe=watcher.observe), check=check, until_step=step)
    ending = replay.run()
    if watcher.found is None:
        raise InvalidSpec(f"this run has {ending.steps} steps, from 0 on; there is no step {step}")
    found = Explanation(
        step=step,
        at=watcher.found.at,
        event=watcher.found.event,
        sentences=list(watcher.tell(watcher.found)),
        changes=_list_changes(watcher.before, watcher.after),
    )
    if ending.violation and ending.steps == step:
        found.violation = ending.violation
        found.contradictions = _find_contradictions(watcher.rules)
        found.story = _tell_story(watcher.rules, ending.violation)
    return found


def _find_failing_step(recording: Recording, check: Check | None) -> int:
    ending = recording.ending or Replay(recording, check=check).run()
    if not ending.violation:
        raise InvalidSpec("this run violates nothing; say which step to explain")
    return ending.steps


@attrs.define(eq=False)
class _Watcher:
    """Sees a run up to the step that is to be explained."""

    wanted: int
    found: Step | None = None
    before: Mapping[int, MemberState] = attrs.field(factory=dict)
    after: Mapping[int, MemberState] = attrs.field(factory=dict)
    rules: list[_Named] = attrs.field(factory=list)
    """Every rule that was named, with its facts."""
    _sent: dict[TracedMessage, int] = attrs.field(factory=dict)
    """The step that sent a message last."""

    def observe(self, step: Step, world: CoreWorld) -> None:
        if step.number == self.wanted - 1:
            self.before = read_states(world)
        elif step.number == self.wanted:
            self.found = step
            self.after = read_states(world)
        for event in step.engine:
            if event.name == RULE:
                self.rules.append((_name_rule(step, event), event.prop))
            elif event.message is not None and event.name.startswith("Send"):
                self._sent[event.message] = step.number

    def tell(self, step: Step) -> Iterator[Sentence]:
        """Put a step into sentences, in the order in which things happened in it."""
        for event in step.engine:
            yield from tell_event(step, event, self._sent)
        for line in step.lines:
            member, colon, note = line.partition(": ")
            if colon and member.isdigit():
                yield Sentence(step.number, step.at, f"notes: {note}", int(member))
            elif line.startswith("-- ") and not line.startswith("-- fault:"):
                yield Sentence(step.number, step.at, f"then: {line.removeprefix('-- ')}")
        for fault in step.faults:
            yield Sentence(step.number, fault.at, f"then a fault strikes: {describe_fault(fault)}")


def tell_event(step: Step, event: TraceEvent, origins: Mapping[TracedMessage, int] = {}) -> Iterator[Sentence]:
    """Put an event of the engine into words; `origins` says which step sent a message that is taken in."""
    member = int(event.member)
    if event.name == RULE:
        yield _name_rule(step, event)
    elif event.message is not None:
        message = event.message
        section = MESSAGE_SECTIONS.get(message.type, "")
        if event.name.startswith("Receive"):
            sent = f", sent in step {origins[message]}" if message in origins else ""
            text = f"takes in {describe_message(message)} of member {message.sender}{sent}"
        else:
            text = f"makes {describe_message(message)} for member {message.to}"
        yield Sentence(step.number, step.at, text, member, section)
    elif event.name in BECOMES:
        yield Sentence(step.number, step.at, f"{BECOMES[event.name]} in term {event.state.term}", member, "Figure 4")
    elif event.name in {"Replicate", "ChangeConf"}:
        yield Sentence(step.number, step.at, f"appends entry {event.log} to its log", member, "5.3")
    elif event.name == "InitState":
        text = f"starts with term {event.state.term} and a log up to entry {event.log} from its disk"
        yield Sentence(step.number, step.at, text, member, "Figure 2")


def _name_rule(step: Step, event: TraceEvent) -> Sentence:
    told = event.prop
    return Sentence(
        step.number, step.at, str(told["because"]), int(event.member), str(told["section"]), str(told["rule"])
    )


def describe_message(message: TracedMessage) -> str:
    """Put a message into words."""
    of_term = f"of term {message.term}"
    match message.type:
        case "MsgApp" if message.entries:
            last = message.index + message.entries
            entries = f"entry {last}" if message.entries == 1 else f"entries {message.index + 1} to {last}"
            text = f"AppendEntries {of_term} with {entries}, behind {message.index} of term {message.log_term}"
        case "MsgApp":
            text = f"AppendEntries {of_term} without entries, behind {message.index} of term {message.log_term}"
        case "MsgAppResp" if message.reject:
            text = f"a refusal {of_term} of entries behind {message.index}"
        case "MsgAppResp":
            text = f"an acknowledgement {of_term} of the log up to entry {message.index}"
        case "MsgHeartbeat":
            text = f"a heartbeat {of_term}, commit index {message.commit}"
        case "MsgHeartbeatResp":
            text = f"an answer {of_term} to a heartbeat"
        case "MsgVote":
            text = f"RequestVote {of_term}, for a log that ends with entry {message.index} of term {message.log_term}"
        case "MsgVoteResp":
            text = f"a vote {of_term}" if not message.reject else f"a refused vote {of_term}"
        case _:
            text = f"a snapshot {of_term} up to entry {message.entries}"
    return text


def _list_changes(before: Mapping[int, MemberState], after: Mapping[int, MemberState]) -> list[Change]:
    return [Change(before.get(member), state) for member, state in after.items() if before.get(member) != state]


def _find_contradictions(rules: list[_Named]) -> list[Sentence]:
    """Find where a member did what the section that it names forbids, by the facts that it named."""
    votes: dict[tuple[int, object], tuple[object, int]] = {}
    found = []
    for sentence, facts in rules:
        match sentence.rule:
            case "VOTE_GIVEN" | "VOTE_REPEATED" | "CAMPAIGN" | "CAMPAIGN_FOR_TRANSFER":
                candidate = facts.get("candidate", sentence.member)  # A campaign is a vote for itself.
                first, step = votes.setdefault((sentence.member, facts["term"]), (candidate, sentence.step))
                if first != candidate:
                    text = (
                        f"voted twice in term {facts['term']}: for member {first} in step {step}, "
                        f"and for member {candidate}"
                    )
                    found.append(_accuse(sentence, text, "5.2 allows one vote a term"))
            case "COMMITS" if facts["of_term"] != facts["term"]:
                text = f"committed entry {facts['index']} of the earlier term {facts['of_term']} by counting"
                found.append(_accuse(sentence, text, "5.4.2 forbids it"))
            case "READS_BY_LEASE" if float(str(facts["left_seconds"])) <= 0:
                found.append(
                    _accuse(sentence, "answered reads without asking anybody and without a lease", "6.4 forbids it")
                )
            case _:
                pass
        if sentence.rule == "VOTE_GIVEN" and _end_of_log(facts, "last_term", "last_index") > _end_of_log(
            facts, "of_term", "index"
        ):
            text = (
                f"gave its vote in term {facts['term']} to member {facts['candidate']}, whose log ends before its own"
            )
            found.append(_accuse(sentence, text, "5.4.1 forbids it"))
    return found


def _accuse(sentence: Sentence, text: str, section: str) -> Sentence:
    return Sentence(sentence.step, sentence.at, f"{text}, in step {sentence.step}", sentence.member, section)


def _end_of_log(facts: Mapping[str, object], term: str, index: str) -> tuple[int, int]:
    return int(str(facts[term])), int(str(facts[index]))


def _tell_story(rules: list[_Named], violation: str) -> list[Sentence]:
    """Tell what led to a violation: all that was decided in the terms that it names, or the last things that were.

    What a member did again and again is told once.
    """
    terms = {int(term) for term in re.findall(r"term[ =](\d+)", violation)}
    story = [sentence for sentence, facts in rules if facts.get("term") in terms and sentence.rule not in ROUTINE]
    if not story:
        story = [sentence for sentence, _ in rules if sentence.rule not in ROUTINE]
    first_told = {(sentence.member, sentence.text): sentence for sentence in reversed(story)}
    return [one for one in story if first_told[one.member, one.text] is one][-LONGEST_STORY:]
