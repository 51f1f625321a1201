"""Why did this happen? A step in plain sentences, with the sections of the paper that the engine itself names.

The one big idea: nothing is guessed afterwards. The engine says by which rule it decides (`raft.rules`), the world what
arrived and what struck; here that is only put in order, and every message traced back to the step that sent it. Of a
failure it is told what it breaks (`promises`), whose decision led to it (`accusing`), and what came before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.accusing import Accuser
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.promises import Promise, find_promise
from raftswarm.lab.recording import Recording, describe_fault
from raftswarm.lab.replaying import Check, Replay
from raftswarm.lab.sentences import Sentence, name_rule, tell_event
from raftswarm.lab.steps import MemberState, Step, StepLog, read_states
from raftswarm.raft.rules import Rule
from raftswarm.raft.tracing import RULE, TracedMessage

LONGEST_STORY: Final = 24
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
OF_A_DISK: Final = re.compile(r"Violation: (7: the disk|8)[: ]|CorruptLog")
OPENINGS: Final = "Openings"
"""Ends the section of what every start begins with."""
AGAIN_AND_AGAIN: Final = 5
"""What was done so often without an end is why nothing happens."""
OF_ONE_MEMBER: Final = re.compile(r"Violation: (5|7: the disk|8|15|18|19|20)[: ]|CorruptLog")
"""Violations that one member's disk, state machine or sessions have led to: the terms that they name say little."""


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
    promise: Promise | None = None
    """What has to hold, and did not."""
    contradictions: list[Sentence] = []
    """What no member may have done, as far as this can be told from what the engine says."""
    clue: Sentence | None = None
    """Of a violation by one member: when its state was last read back from a snapshot, or its log cut."""
    story: list[Sentence] = []
    """Of a violation: what led to it."""


def explain(recording: Recording, step: int | None = None, *, check: Check | None = None) -> Explanation:
    """Explain a step; without a number, the one in which the run failed, with what led to it.

    Raises:
        InvalidSpec: the run has no such step, or did not fail.
    """
    asked = step
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
        sentences=_count_equal(watcher.tell(watcher.found)),
        changes=_list_changes(watcher.before, watcher.after),
    )
    if ending.violation and ending.steps == step:
        found.violation = ending.violation
        found.promise = find_promise(ending.violation)
        found.contradictions = watcher.accuser.tell()
        found.clue, found.story = _tell_story(watcher, watcher.found, ending.violation)
    elif asked is None:
        raise InvalidSpec(
            f"the recording says that step {step} violates something, and with this engine it does not: "
            "the engine has changed since it was recorded"
        )
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
    origins: dict[int, Sentence] = attrs.field(factory=dict)
    """By member: the last start or installed snapshot that its state comes from."""
    cuts: dict[int, Sentence] = attrs.field(factory=dict)
    """By member: where its log was cut last."""
    accuser: Accuser = attrs.field(factory=Accuser)
    _sent: dict[TracedMessage, list[int]] = attrs.field(factory=dict)
    """Steps that sent a message which has not arrived; what got lost stays there."""

    def observe(self, step: Step, world: CoreWorld) -> None:
        if step.number == self.wanted - 1:
            self.before = read_states(world)
        elif step.number == self.wanted:
            self.found = step
            self.after = read_states(world)
            self.accuser.look(step, world)
        for event in step.engine:
            self.accuser.hear(step, event)
            if event.name == RULE:
                sentence = name_rule(step, event)
                self.rules.append((sentence, event.prop))
                if sentence.rule == "INSTALLED":
                    self._comes_from(sentence)
                elif sentence.rule == "CONFLICT_CUT":
                    text = f"{sentence.text}; whoever reads its disk has to leave these out as well"
                    self.cuts[sentence.member] = msgspec.structs.replace(sentence, text=text)
            elif event.name == "InitState" and step.number:
                self.origins.pop(int(event.member), None)
                if event.prop["first"] != 1:
                    self._comes_from(*tell_event(step, event))
            elif event.message is not None and event.name.startswith("Send"):
                self._sent.setdefault(event.message, []).append(step.number)
            elif event.message in self._sent and step.number < self.wanted:
                self._arrived(event.message)

    def _arrived(self, message: TracedMessage) -> None:
        steps = self._sent[message]
        del steps[0]
        if not steps:
            del self._sent[message]

    def _comes_from(self, sentence: Sentence) -> None:
        text = f"{sentence.text}: what went in has to come out again, sessions included"
        section = f"{sentence.section}; dissertation 6.3"
        self.origins[sentence.member] = msgspec.structs.replace(sentence, text=text, section=section)

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


def _count_equal(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Tell once what happened several times; who slept wakes up to many heartbeats."""
    counts = Counter(sentences)
    return [
        msgspec.structs.replace(sentence, text=f"{sentence.text}, {count} times") if count > 1 else sentence
        for sentence, count in counts.items()
    ]


def _list_changes(before: Mapping[int, MemberState], after: Mapping[int, MemberState]) -> list[Change]:
    return [Change(before.get(member), state) for member, state in after.items() if before.get(member) != state]


def _tell_story(watcher: _Watcher, step: Step, violation: str) -> tuple[Sentence | None, list[Sentence]]:
    """Tell what led to a violation, and what may have to do with it, if it is about one member.

    What a member did again and again is told once, but where nothing happened that should have: there it is why.
    """
    rules = watcher.rules
    if within := re.search(r"did not (?:happen|end) within ([\d.]+) s", violation):
        return None, _tell_what_goes_on(rules, step.at - float(within[1]))
    if OF_ONE_MEMBER.match(violation):
        named = re.search(r"(?:member|disk of) (\d+)", violation)
        member = int(named[1]) if named else step.member
        own = [one for one, _ in rules if one.member == member and one.rule not in ROUTINE]
        clue = watcher.cuts.get(member) if OF_A_DISK.match(violation) else None
        return clue or watcher.origins.get(member), _shorten([one for one in own if not one.section.endswith(OPENINGS)])
    terms = {int(term) for term in re.findall(r"term[ =](\d+)", violation)}
    story = [sentence for sentence, facts in rules if facts.get("term") in terms and sentence.rule not in ROUTINE]
    return None, _shorten(story or [sentence for sentence, _ in rules if sentence.rule not in ROUTINE])


def _shorten(story: list[Sentence]) -> list[Sentence]:
    first_told = {(sentence.member, sentence.text): sentence for sentence in reversed(story)}
    return [one for one in story if first_told[one.member, one.text] is one][-LONGEST_STORY:]


def _tell_what_goes_on(rules: list[_Named], since: float) -> list[Sentence]:
    """Tell what was done again and again since then, and what was done last."""
    late = [sentence for sentence, _ in rules if sentence.at >= since]
    counts = Counter((sentence.member, sentence.text) for sentence in late)
    last = {(sentence.member, sentence.text): sentence for sentence in late}
    often = [
        msgspec.structs.replace(last[done], text=f"{last[done].text}, {count} times since {since:.3f} s")
        for done, count in counts.most_common(AGAIN_AND_AGAIN)
        if count >= AGAIN_AND_AGAIN
    ]
    rest = [one for one in late if counts[one.member, one.text] < AGAIN_AND_AGAIN and one.rule not in ROUTINE]
    return sorted([*often, *_shorten(rest)[-LONGEST_STORY // 2 :]], key=lambda one: one.step)
