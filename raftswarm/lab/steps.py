"""What happens in a world, step by step.

A step is one event of the world's agenda: a message arrives, a disk is done, a process takes its turn. Faults come
between steps and belong to the step before. The one big idea: a step is put together from what the world and its
members tell anyway (lines of the trace, events of the engine), so that looking on changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final, Literal, TypeAlias

import msgspec

from raftswarm.lab.agenda import describe_event
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.host import Host
from raftswarm.lab.recording import CHECKPOINT_STEPS
from raftswarm.lab.trace import Trace
from raftswarm.raft.log_entry import MemberInfo
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.tracing import TraceEvent, TraceSink

Status = Literal["follower", "pre-candidate", "candidate", "leader", "paused", "down"]

ROLE_NAMES: Final[dict[type[Role], Status]] = {
    Follower: "follower",
    PreCandidate: "pre-candidate",
    Candidate: "candidate",
    Leader: "leader",
}


class MemberState(msgspec.Struct, frozen=True):
    """One member at the end of a step; of one that is down, only that."""

    member: int
    status: Status
    term: int = 0
    voted_for: int = 0
    leader: int = 0
    commit: int = 0
    applied: int = 0
    first: int = 0
    """The oldest entry in its log."""
    last: int = 0
    last_term: int = 0
    durable: int = 0
    voters: tuple[int, ...] = ()
    outgoing: tuple[int, ...] = ()
    """The old voters of a joint configuration."""
    learners: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Render it in a line."""
        if self.status == "down":
            return f"member {self.member} is down"
        parts = [f"term {self.term}", f"log {self.first}..{self.last}", f"commit {self.commit}"]
        if self.applied != self.commit:
            parts.append(f"applied {self.applied}")
        if self.voted_for:
            parts.append(f"voted for {self.voted_for}")
        if self.leader not in {0, self.member}:
            parts.append(f"leader {self.leader}")
        return f"member {self.member} {self.status}: {', '.join(parts)}"


class Step(msgspec.Struct, kw_only=True):
    """One event of the world's agenda, and what came of it."""

    number: int
    at: float
    """Seconds since the world began."""
    event: str = ""
    """What was due."""
    member: int = 0
    """Whom it reached; 0 if nobody."""
    lines: list[str] = []
    """What world and members told: messages that left, notes, and behind ``--`` what befell the world."""
    faults: list[FaultEvent] = []
    """What struck, after all of this and before the next step."""
    engine: list[TraceEvent] = []
    """What the engine told, its rules too."""

    @property
    def is_quiet(self) -> bool:
        """Nothing was told."""
        return not self.lines and not self.engine


Observer: TypeAlias = Callable[[Step, CoreWorld], object]
"""Hears of a step as it ends; may look at the world, not touch it. Raises StopRun when it has seen enough."""


class StopRun(Exception):
    """Nobody wants to see what comes next."""


class StepLog(Trace):
    """A trace that knows the steps: it digests all that is told, and shows the steps from `first` on to an observer."""

    def __init__(self, *, first: float = inf, observe: Observer | None = None) -> None:
        super().__init__(enabled=True, keep_lines=False)
        self.first = first
        self.checkpoints: list[str] = []
        self._observe = observe
        self._world: CoreWorld | None = None
        self.observer_failure: Exception | None = None
        self._struck = 0
        """How many faults the steps before have had."""
        self._step: Step | None = None
        if first <= 0:
            self._step = Step(number=0, at=0.0, event="the world begins", lines=[], engine=[])

    def watch(self, world: CoreWorld, before_step: Callable[[int], object]) -> None:
        """Follow that world, which was built with this as its trace; what it told while it was built is step 0.

        `before_step` hears the number of each step before it begins.
        """
        self._world = world

        def begins(at: float, _: int, action: Callable[..., object], arguments: tuple[Any, ...]) -> None:
            self.end_step()
            number = world.heap.events_run + 1
            if number % CHECKPOINT_STEPS == 0:
                self.checkpoints.append(self.digest())
            self._step = None
            before_step(number)
            if number >= self.first:
                event, member = describe_event(action, arguments)
                self._step = Step(number=number, at=at, event=event, member=member, lines=[], engine=[])

        world.heap.watch = begins

    def end_step(self) -> None:
        """Show the step under way; also called when the run is over."""
        if self._observe is not None and self._world is not None and self._step is not None:
            self._step.faults = self._world.struck[self._struck :]
            self._struck = len(self._world.struck)
            step, self._step = self._step, None
            try:
                self._observe(step, self._world)
            except StopRun:
                raise
            except Exception as error:
                self.observer_failure = error  # No finding of the world's.
                raise StopRun from error

    def record(self, now: float, text: str) -> None:
        """Add a line to the step."""
        super().record(now, text)
        if self._step is not None:
            self._step.lines.append(text)

    @property
    def listener(self) -> TraceSink | None:
        """What the engine has to tell, if anybody listens: it is not digested, and costs much."""
        return self._hear if self._observe is not None else None

    def _hear(self, event: TraceEvent) -> None:
        if self._step is not None:
            self._step.engine.append(event)


def read_states(world: CoreWorld) -> dict[int, MemberState]:
    """Look at all members."""
    return {member: _read_state(host) for member, host in sorted(world.hosts.items())}


def _read_state(host: Host) -> MemberState:
    process = host.process
    if process is None:
        return MemberState(host.member_id, "down")
    member = process.member
    configuration = member.configuration
    return MemberState(
        member=host.member_id,
        status="paused" if process.paused else ROLE_NAMES[type(member.role)],
        term=member.term,
        voted_for=member.hard_state.voted_for,
        leader=member.leader,
        commit=member.commit_index,
        applied=process.replica.applied.index,
        first=member.first_index,
        last=member.last_index,
        last_term=member.last_term,
        durable=member.durable_index,
        voters=_ids(configuration.voters),
        outgoing=_ids(configuration.outgoing),
        learners=_ids(configuration.learners),
    )


def _ids(members: tuple[MemberInfo, ...]) -> tuple[int, ...]:
    return tuple(info.id for info in members)
