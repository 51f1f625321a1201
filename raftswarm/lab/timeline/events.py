"""What a timeline shows: spans of a member in one role and term, and moments worth a mark.

The one big idea: states are looked at only after steps in which something was told, since nothing else changes a role.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Literal

import msgspec

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.recording import Ending, Recording, describe_fault
from raftswarm.lab.replaying import Replay
from raftswarm.lab.steps import MemberState, Status, Step, StepLog, read_states

MarkKind = Literal["fault", "leader", "members", "snapshot", "violation"]
NO_MEMBER = 0
WORLD = "-- "
"""Begins the lines that the world tells, rather than a member."""


class Span(msgspec.Struct):
    """A member stays what it is for a while."""

    member: int
    start: float
    end: float
    status: Status
    term: int
    step: int
    """In which it became so."""


class Mark(msgspec.Struct, frozen=True):
    """Something happened at that moment."""

    at: float
    step: int
    kind: MarkKind
    text: str
    member: int = NO_MEMBER
    """Whom it is about; 0 if it is about all."""


class Commit(msgspec.Struct, frozen=True):
    """From then on the member knows its log to be committed up to there."""

    at: float
    member: int
    index: int


class Timeline(msgspec.Struct, kw_only=True):
    """A run at a glance."""

    title: str = ""
    seconds: float = 0.0
    spans: list[Span] = []
    """In the order in which they begin."""
    marks: list[Mark] = []
    commits: list[Commit] = []

    start: float = 0.0
    """From when on it is shown."""

    @property
    def members(self) -> list[int]:
        """Everybody who ever took part."""
        return sorted({span.member for span in self.spans})

    def between(self, start: float, end: float) -> Timeline:
        """Return the part between two moments."""
        end = min(end, self.seconds)
        return Timeline(
            title=self.title,
            start=start,
            seconds=end,
            spans=[
                msgspec.structs.replace(span, start=max(span.start, start), end=min(span.end, end))
                for span in self.spans
                if span.start < end and span.end >= start
            ],
            marks=[mark for mark in self.marks if start <= mark.at <= end],
            commits=[commit for commit in self.commits if commit.at <= end],
        )


def draw_timeline(recording: Recording) -> tuple[Timeline, Ending]:
    """Let a recording happen, and draw up what was seen; also say how it went."""
    builder = TimelineBuilder()

    def observe(step: Step, world: CoreWorld) -> None:
        if not step.is_quiet:
            builder.observe(step, read_states(world))

    replay = Replay(recording, log=StepLog(first=0, observe=observe))
    ending = replay.run()
    title = recording.title or f"seed {recording.seed}"
    return builder.finish(title, at=ending.at, violation=ending.violation, step=ending.steps), ending


class TimelineBuilder:
    """Watches steps and draws up the timeline."""

    def __init__(self) -> None:
        self._timeline = Timeline(spans=[], marks=[], commits=[])
        self._current: dict[int, Span] = {}
        self._states: dict[int, MemberState] = {}
        self._seen_members: set[str] = set()
        """Configurations that have come into force anywhere, in words."""

    def observe(self, step: Step, states: Mapping[int, MemberState]) -> None:
        """Take in a step, and what the members are at its end."""
        self._timeline.seconds = max(self._timeline.seconds, step.at)
        self._take_faults(step)
        at = step.faults[-1].at if step.faults else step.at  # What strikes changes more than what is due.
        for member, state in states.items():
            before = self._states.get(member)
            if before is not state and before != state:
                self._changed(step, at, before, state)
                self._states[member] = state

    def finish(self, title: str, *, at: float, violation: str = "", step: int = 0) -> Timeline:
        """End all spans, and return what was seen."""
        timeline = self._timeline
        timeline.title = title
        timeline.seconds = max(timeline.seconds, at)
        for span in self._current.values():
            span.end = timeline.seconds
        if violation:
            timeline.marks.append(Mark(at, step, "violation", violation))
        return timeline

    def _take_faults(self, step: Step) -> None:
        """One mark for what strikes at once in the same way; the world's own lines where no fault says the same."""
        for (at, kind), group in groupby(step.faults, key=_moment_and_kind):
            faults = list(group)
            first, *others = map(describe_fault, faults)
            text = ", ".join([first, *(other.removeprefix(kind.replace("_", " ")).strip() for other in others)])
            member = getattr(faults[0].fault, "member", NO_MEMBER) if len(faults) == 1 else NO_MEMBER
            self._timeline.marks.append(Mark(at, step.number, "fault", text, member))
        for line in step.lines if step.number and not step.faults else ():
            if line.startswith(WORLD):
                self._mark(step, "fault", line.removeprefix(WORLD))

    def _changed(self, step: Step, at: float, before: MemberState | None, state: MemberState) -> None:
        member = state.member
        span = self._current.get(member)
        if span is None or (span.status, span.term) != (state.status, state.term):
            if span is not None:
                span.end = at
            self._current[member] = span = Span(member, at, at, state.status, state.term, step.number)
            self._timeline.spans.append(span)
            if state.status == "leader":
                self._mark(step, "leader", f"member {member} leads term {state.term}", member)
        if before is None or state.status == "down":
            return
        if state.commit > before.commit:
            self._timeline.commits.append(Commit(at, member, state.commit))
        if before.status != "down":
            self._grown(step, before, state)

    def _grown(self, step: Step, before: MemberState, state: MemberState) -> None:
        members = describe_members(state)
        if members not in self._seen_members and members != describe_members(before):
            self._mark(step, "members", f"{members} from now on, at member {state.member} first", state.member)
        self._seen_members.add(members)
        if state.first > before.last + 1:
            self._mark(step, "snapshot", f"member {state.member} installs a snapshot", state.member)

    def _mark(self, step: Step, kind: MarkKind, text: str, member: int = NO_MEMBER) -> None:
        self._timeline.marks.append(Mark(step.at, step.number, kind, text, member))


def describe_members(state: MemberState) -> str:
    """Say who takes part, as that member has it."""
    parts = [f"voters {_list(state.voters)}"]
    if state.outgoing:
        parts.append(f"old voters {_list(state.outgoing)}")
    if state.learners:
        parts.append(f"learners {_list(state.learners)}")
    return ", ".join(parts)


def _list(members: tuple[int, ...]) -> str:
    return " ".join(map(str, members))


def _moment_and_kind(event: FaultEvent) -> tuple[float, str]:
    return event.at, event.fault.kind
