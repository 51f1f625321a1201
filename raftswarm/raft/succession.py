"""Who should lead instead: a leader that is not the right one hands over by itself.

The one big idea: this is only ever a transfer (3.10), looked at when heartbeats are due. Two reasons are known: a voter
of higher priority is there and has all that is committed; or our disk is so slow that the others commit without us.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftswarm.raft import transfer
from raftswarm.raft.core import Core
from raftswarm.raft.events import TransferLeadership
from raftswarm.raft.priorities import priority_of
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule

PACE_TIMEOUTS = 5
"""For so many election timeouts a leader does not try again, nor a new one give way to a higher priority."""
FORGIVE_TIMEOUTS = 60
"""For so many nothing is handed to who failed to take over: each such try holds proposals up."""


def rank(core: Core, role: Leader) -> None:
    """Order the other voters, best log first: so they campaign after a hint that we have stopped."""

    def order(peer: int) -> tuple[int, int, int]:
        return -role.progress[peer].match_index, -priority_of(core.configuration, peer), peer

    role.successors = tuple(sorted(core.other_voters, key=order))


def place_after(core: Core, stopped: int, successors: Sequence[int]) -> int:
    """Return how many voters campaign before us, in the order that the stopped leader published last.

    Whoever is not in it, or has never heard of one, comes where the configuration alone would put it.
    """
    if core.id in successors:
        order = [voter for voter in successors if voter != stopped]
        return order.index(core.id)

    def rank_alone(voter: int) -> tuple[int, int]:
        return -priority_of(core.configuration, voter), voter

    others = [voter for voter in core.other_voters if voter != stopped]
    return len(successors) + sum(rank_alone(voter) < rank_alone(core.id) for voter in others)


def hand_over_if_better(core: Core, role: Leader) -> None:
    """Begin a transfer if somebody else should lead."""
    settings = core.settings
    pace_seconds = PACE_TIMEOUTS * settings.election_seconds
    if role.transfer is not None or core.now < role.offered_at + pace_seconds:
        return
    heirs = _possible_heirs(core, role)
    slow = [peer for peer in heirs if role.progress[peer].match_index > core.durability.durable_index]
    higher = [
        peer for peer in heirs if priority_of(core.configuration, peer) > priority_of(core.configuration, core.id)
    ]
    if slow and _has_slow_disk(core):
        why = f"a write has taken longer than {settings.slow_disk_seconds:g} s here, but not there"
        _offer(core, role, slow, why, case="SLOW_DISK")
    elif higher and core.now >= role.began_at + pace_seconds:
        _offer(core, role, higher, "it has a higher priority", case="PRIORITY")


def _possible_heirs(core: Core, role: Leader) -> list[int]:
    """Voters that answer, have all that is committed, and did not fail to take over lately."""
    timeout = core.settings.election_seconds

    def may_lead(peer: int) -> bool:
        progress = role.progress[peer]
        has_failed = core.now < role.failed_heirs.get(peer, float("-inf")) + FORGIVE_TIMEOUTS * timeout
        is_there = core.now - progress.heard_at < timeout
        return is_there and progress.match_index >= core.commit_index and not has_failed

    return [peer for peer in core.other_voters if may_lead(peer)]


def _has_slow_disk(core: Core) -> bool:
    """Tell whether a write has been under way for too long, while a quorum without us has committed what is in it.

    If everybody's disk is slow nothing is committed meanwhile, and nobody else would do better.
    """
    since = core.durability.oldest_since
    is_late = since is not None and core.now >= since + core.settings.slow_disk_seconds
    return is_late and core.commit_index > core.durability.durable_index


def _offer(core: Core, role: Leader, heirs: list[int], why: str, *, case: str) -> None:
    def fitness(peer: int) -> tuple[int, int, int]:
        return priority_of(core.configuration, peer), role.progress[peer].match_index, -peer

    heir = max(heirs, key=fitness)
    core.note(f"hands leadership to member {heir}: {why}")
    core.because(Rule.HANDS_OVER, heir=heir, why=why, case=case)
    role.offered_at = core.now
    transfer.begin(core, TransferLeadership(heir))
