"""Changes of the members (dissertation 4): in force from the moment they are in the log.

The one big idea: users say who shall take part, and `plan_change` says what is appended for it. One voter more or less
goes in a single step (4.1); everything else passes through a joint configuration, in which old and new voters decide
together (4.3). What follows by itself, leaving it and promoting learners, is asked for by whoever leads.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from raftswarm.raft import promotion, replication
from raftswarm.raft.core import Core
from raftswarm.raft.events import ProposeConfiguration, Transition
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.log_view import encode_configuration
from raftswarm.raft.ready import ProposalOutcome
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule


def propose(core: Core, event: ProposeConfiguration) -> None:
    """Append what leads to the members that are wished, if leading and if now is the time."""
    role = core.role
    refused = why_not_now(core)
    planned = plan_change(core.configuration, event.configuration, event.transition)
    if refused or isinstance(planned, str) or not isinstance(role, Leader):
        core.because(Rule.CHANGE_REFUSED, why=refused or planned, case="NOT_NOW" if refused else "NEVER")
        core.work.proposals.append(ProposalOutcome(event.token, refused=refused or str(planned), leader=core.leader))
        return
    entry = _append(core, role, planned, event.time_ns)
    core.work.proposals.append(ProposalOutcome(event.token, index=entry.index, term=entry.term))


def go_on(core: Core, role: Leader) -> None:
    """Take the step that is due by itself. What forbids it now passes: it is tried again in each turn."""
    if not (core.configuration.outgoing or core.configuration.learners):
        return
    change = _next_step(core, role)
    if change is not None and not why_not_now(core):
        _append(core, role, change)


def _next_step(core: Core, role: Leader) -> Configuration | None:
    """Return what follows the configuration in force without being asked for (4.2.1, 4.3)."""
    now = core.configuration
    if now.is_joint:
        left = plan_leave(now)
        return left if now.auto_leave and isinstance(left, Configuration) else None
    learner = promotion.find_caught_up(core, role)
    return promote(now, learner) if learner else None


def why_not_now(core: Core) -> str:
    """Return why this member cannot append a configuration at the moment; empty when it can.

    A full tail is no reason: there is one change at a time, and it is small.
    """
    if refused := replication.why_closed(core):
        return refused
    if core.log.configuration_index > core.commit_index:
        why = "another change of the members is not committed yet; retry when it is"
        core.because(Rule.CHANGE_TOO_EARLY, why=why, case="ANOTHER_UNCOMMITTED")
        return why
    if isinstance(core.role, Leader) and core.commit_index < core.role.first_index:
        # Without this, two leaders' changes may be in force at once and their majorities need not overlap.
        why = "this leader has committed nothing in its term yet; retry in a moment"
        core.because(Rule.CHANGE_TOO_EARLY, why=why, case="NOTHING_OF_ITS_TERM")
        return why
    return ""


def _append(core: Core, role: Leader, configuration: Configuration, time_ns: int = 0) -> Entry:
    _tell_step(core, configuration)
    data = encode_configuration(configuration)
    entry = replication.append(core, role, EntryKind.CONFIGURATION, data=data, time_ns=time_ns)
    replication.follow_configuration(core, role)
    return entry


def _tell_step(core: Core, configuration: Configuration) -> None:
    """Name the step that a configuration is."""
    log, now = core.log, core.configuration
    if configuration.is_joint:
        core.because(Rule.JOINT_ENTERED, case="IMPLICIT" if configuration.auto_leave else "EXPLICIT")
    elif now.is_joint:
        is_ours = log.term_at(log.configuration_index) == core.term
        core.because(Rule.JOINT_LEFT, case="BY_WHO_ENTERED_IT" if is_ours else "BY_A_NEW_LEADER")
    else:
        core.because(Rule.CHANGE_IN_ONE_STEP)


# Which configuration comes next: plain functions of the one in force and the one that is wished.


def plan_change(
    old: Configuration, target: Configuration, transition: Transition = Transition.AUTO
) -> Configuration | str:
    """Return the configuration to append so that `target` is reached, or the reason why there is none.

    `target` lists the voters and learners that are wished, and nothing of a joint configuration. From one of those,
    only its own new members can be reached: so it is left.
    """
    if refused := why_not_target(target):
        return refused
    if old.is_joint:
        if transition is Transition.AUTO and target == plan_leave(old):
            return target
        return "a joint change is under way: propose its new members, to leave it, before another"
    changed = {info.id for info in old.voters} ^ {info.id for info in target.voters}
    match transition:
        # Any majorities of two sets of voters that differ by one member have a member in common (4.1).
        case Transition.SINGLE | Transition.AUTO if len(changed) <= 1:
            return target
        case Transition.SINGLE:
            return f"{len(changed)} voters would change at once; change one at a time, or by a joint configuration"
        case _:
            return _enter_joint(old, target, auto_leave=transition is not Transition.EXPLICIT)


def why_not_target(target: Configuration) -> str:
    """Return why nobody may wish for those members, whatever the present ones are; empty when they may."""
    if not target.voters:
        return "a cluster needs a voter"
    if target.is_joint or target.learners_next or target.auto_leave:
        return "say which voters and learners are wished; how they are reached is not part of it"
    ids = [info.id for info in (*target.voters, *target.learners)]
    if len(set(ids)) < len(ids):
        twice = next(member for member in ids if ids.count(member) > 1)
        return f"member {twice} is listed twice"
    lowest = min(info.priority for info in (*target.voters, *target.learners))
    if min(ids) < 1 or lowest < 0 or not (_is_sorted(target.voters) and _is_sorted(target.learners)):
        return "members must be sorted by id, ids are positive, and priorities are 0 or higher"
    if any(info.promote for info in target.voters):
        return "a voter cannot be promoted; only learners can"
    return ""


def _enter_joint(old: Configuration, target: Configuration, *, auto_leave: bool) -> Configuration | str:
    if not old.voters:
        return "without voters there are none to decide together with"
    demoted = {info.id for info in old.voters}
    return Configuration(
        voters=target.voters,
        learners=tuple(info for info in target.learners if info.id not in demoted),
        outgoing=old.voters,
        learners_next=tuple(info for info in target.learners if info.id in demoted),
        auto_leave=auto_leave,
    )


def plan_leave(old: Configuration) -> Configuration | str:
    """Return what follows a joint configuration, its new members without the old voters; or why nothing does."""
    if not old.is_joint:
        return "no joint change is under way"
    learners = sorted((*old.learners, *old.learners_next), key=_id)
    return Configuration(voters=old.voters, learners=tuple(learners))


def promote(configuration: Configuration, learner: int) -> Configuration:
    """Return the configuration in which that learner is a voter."""
    [info] = (info for info in configuration.learners if info.id == learner)
    voter = msgspec.structs.replace(info, promote=False)
    return msgspec.structs.replace(
        configuration,
        voters=tuple(sorted((*configuration.voters, voter), key=_id)),
        learners=tuple(other for other in configuration.learners if other is not info),
    )


def _is_sorted(infos: Iterable[MemberInfo]) -> bool:
    ids = [info.id for info in infos]
    return ids == sorted(ids)


def _id(info: MemberInfo) -> int:
    return info.id
