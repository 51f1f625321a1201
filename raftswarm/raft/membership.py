"""Changes of the members, one voter at a time, in force from the moment they are in the log (dissertation 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

from raftswarm.raft import replication
from raftswarm.raft.core import Core
from raftswarm.raft.events import ProposeConfiguration
from raftswarm.raft.log_entry import Configuration, EntryKind, MemberInfo
from raftswarm.raft.log_view import encode_configuration
from raftswarm.raft.progress import Progress
from raftswarm.raft.ready import ProposalOutcome
from raftswarm.raft.roles import Leader


def propose(core: Core, event: ProposeConfiguration) -> None:
    """Append a configuration, if leading and if it can be reached in one safe step."""
    role = core.role
    data = encode_configuration(event.configuration)
    refused = replication.why_not_append(core, len(data))
    if not refused and isinstance(role, Leader):
        refused = _why_not_now(core, role) or why_not_change(core.configuration, event.configuration)
    if refused or not isinstance(role, Leader):
        core.work.proposals.append(ProposalOutcome(event.token, refused=refused, leader=core.leader))
        return
    entry = replication.append(core, role, EntryKind.CONFIGURATION, data=data, time_ns=event.time_ns)
    follow_configuration(core, role)
    core.work.proposals.append(ProposalOutcome(event.token, index=entry.index, term=entry.term))


def _why_not_now(core: Core, role: Leader) -> str:
    if core.log.configuration_index > core.commit_index:
        return "another change of the members is not committed yet; retry when it is"
    if core.commit_index < role.first_index:
        # Without this, two leaders' changes may be in force at once and their majorities need not overlap.
        return "this leader has committed nothing in its term yet; retry in a moment"
    return ""


def why_not_change(old: Configuration, new: Configuration) -> str:
    """Return why one step must not lead from the old members to the new; empty when it may.

    With at most one voter more or less, any majority of the old shares a member with any majority of the new (4.1).
    """
    if not new.voters:
        return "a cluster needs a voter"
    if old.outgoing or new.outgoing:
        return "joint changes are not supported: change one voter at a time"
    ids = [info.id for info in (*new.voters, *new.learners)]
    if len(set(ids)) < len(ids):
        return "a member is listed twice"
    if not (_is_sorted(new.voters) and _is_sorted(new.learners)):
        return "members must be sorted by id"
    changed = {info.id for info in old.voters} ^ {info.id for info in new.voters}
    if len(changed) > 1:
        return f"{len(changed)} voters would change at once: change one at a time"
    return ""


def follow_configuration(core: Core, role: Leader) -> None:
    """Serve the members that are new, forget those that are gone."""
    next_index = core.log.last_index + 1
    role.progress = {
        peer: role.progress.get(peer) or Progress(next_index=next_index, heard_at=core.now) for peer in core.peers
    }
    replication.rank_successors(core, role)
    if role.transfer is not None and role.transfer.to not in core.other_voters:
        role.transfer = None


def _is_sorted(infos: Iterable[MemberInfo]) -> bool:
    ids = [info.id for info in infos]
    return ids == sorted(ids)
