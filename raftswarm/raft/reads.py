"""Linearizable reads without writing to the log: ReadIndex (6.4 of the dissertation).

The one big idea: reads that come in the same turn share one round of heartbeats; once a quorum has answered a round,
its leader was the leader when the round began, so the commit index of that moment is safe to read at.
"""

from __future__ import annotations

from raftswarm.raft.core import Core
from raftswarm.raft.ready import ReadOutcome
from raftswarm.raft.roles import Leader

MAX_PENDING_READS = 65_536


def ask(core: Core, token: int) -> None:
    """Take in a read; it is answered when its round is confirmed."""
    match core.role:
        case Leader(reads=reads) if reads.count < MAX_PENDING_READS:
            reads.add(token)
        case Leader():
            refused = f"{MAX_PENDING_READS} reads wait already; retry later"
            core.work.reads.append(ReadOutcome(token, refused=refused, leader=core.id))
        case _:
            core.work.reads.append(ReadOutcome(token, refused="this member does not lead", leader=core.leader))


def begin_round(core: Core, role: Leader) -> bool:
    """Give the waiting reads a round of heartbeats to be confirmed by; tell whether there is one to send.

    A leader that has committed nothing in its term does not know yet what is committed: reads wait for that.
    """
    if not role.reads.has_waiting or core.commit_index < role.first_index:
        return False
    role.reads.begin_round(core.commit_index)
    return True


def confirm(core: Core, role: Leader) -> None:
    """Answer the reads of all rounds that a quorum has confirmed."""

    def confirmed_by(member: int) -> int:
        if member == core.id:
            return role.reads.newest_round
        progress = role.progress.get(member)
        return progress.confirmed_round if progress else 0

    for round_ in role.reads.take_confirmed(core.quorum.reached(confirmed_by) or 0):
        core.work.reads.extend(ReadOutcome(token, round_.index) for token in round_.tokens)
