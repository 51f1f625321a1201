"""Leases: while no voter may elect another, a leader answers reads without asking anybody (6.4.1; opt-in).

The one big idea: whoever heard a leader gives no vote for T, and that promise is the leader's lease. It is counted
from when the leader *sent* what a quorum has answered, and shortened by how much faster a voter's clock may run. For
that the promise has to hold whatever happens meanwhile: it outlives terms, restarts and hints (docs/raft.md, "Leases").
"""

from __future__ import annotations

from raftswarm.raft.core import Core
from raftswarm.raft.messages import HeartbeatReply
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule


def holds(core: Core, role: Leader) -> bool:
    """Tell whether nobody else can lead at this moment."""
    return core.settings.lease_reads and not role.gave_up_lease and core.now < ends_at(core, role)


def ends_at(core: Core, role: Leader) -> float:
    """Return when the newest lease ends, if leases count at all."""
    return role.lease_from + core.settings.election_seconds / (1 + core.settings.clock_drift)


def renew(core: Core, role: Leader, began_at: float) -> None:
    """A quorum has answered heartbeats that left at that moment: each of them promises T from later than that."""
    assert began_at <= core.now, "what was answered has been sent"
    role.lease_from = max(role.lease_from, began_at)


def check_promise(core: Core, role: Leader, reply: HeartbeatReply) -> None:
    """Have no lease at all if a follower is set otherwise than we are."""
    promised = reply.promise_seconds >= core.settings.election_seconds
    if core.settings.lease_reads and not promised and not role.gave_up_lease:
        core.note(
            f"has no lease: member {reply.sender} promises too little; set lease_reads and T alike on all members"
        )
        core.because(Rule.LEASE_GIVEN_UP, peer=reply.sender, term=core.term)
        role.gave_up_lease = True


def promise_seconds(core: Core) -> float:
    """Return for how long after hearing a leader this voter votes for nobody."""
    return core.settings.election_seconds if core.settings.lease_reads else 0.0


def is_promised(core: Core) -> bool:
    """Tell whether this voter heard a leader so lately, or may have before it was started."""
    return core.now < core.heard_leader_at + promise_seconds(core)
