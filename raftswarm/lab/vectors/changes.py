"""Sequences of configurations: which one follows from another by a change, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

from raftswarm.lab.vectors.bare_member import configuration_of
from raftswarm.lab.vectors.formats import ChangeSequence, ChangesFile, ChangeStep, ConfigState, MemberChange
from raftswarm.lab.vectors.outcomes import Outcome, judge
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.membership import plan_change, plan_leave


def check_changes(file: ChangesFile) -> list[Outcome]:
    """Check every sequence."""
    return [_check(sequence) for sequence in file.sequences]


def _check(sequence: ChangeSequence) -> Outcome:
    configuration, differences = Configuration(), []
    for number, step in enumerate(sequence.steps):
        planned = _plan(configuration, step)
        got = describe_members(planned) if isinstance(planned, Configuration) else None
        if got != step.expect.config:
            said = f"refused: {planned}" if isinstance(planned, str) else planned
            differences.append(f"step {number}, {step.op}: {said}, expected {step.expect.config or 'a refusal'}")
        configuration = planned if isinstance(planned, Configuration) else configuration
    return judge(sequence.id, differences)


def _plan(old: Configuration, step: ChangeStep) -> Configuration | str:
    match step.op:
        case "simple":
            return plan_change(old, wish(old, step.changes), Transition.SINGLE)
        case "enter_joint":
            way = Transition.IMPLICIT if step.auto_leave else Transition.EXPLICIT
            return plan_change(old, wish(old, step.changes), way)
        case "leave_joint":
            return plan_leave(old)


def wish(old: Configuration, changes: Iterable[MemberChange]) -> Configuration:
    """Return the members that those changes, one after another, lead to."""
    voters = {info.id for info in old.voters}
    learners = {info.id for info in (*old.learners, *old.learners_next)}
    for change in changes:
        if change.node == 0 or change.type == "update":
            continue
        voters.discard(change.node)
        learners.discard(change.node)
        if change.type == "add_voter":
            voters.add(change.node)
        elif change.type == "add_learner":
            learners.add(change.node)
    return configuration_of(voters, learners)


def describe_members(configuration: Configuration) -> ConfigState:
    """Return the members by their ids alone."""
    return ConfigState(
        voters=tuple(info.id for info in configuration.voters),
        voters_outgoing=tuple(info.id for info in configuration.outgoing),
        learners=tuple(info.id for info in configuration.learners),
        learners_next=tuple(info.id for info in configuration.learners_next),
        auto_leave=configuration.auto_leave,
    )
