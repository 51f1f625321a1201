"""Leadership transfer: bring one voter up to date, take nothing new meanwhile, tell it to campaign (3.10)."""

from __future__ import annotations

import attrs

from raftswarm.raft.core import Core
from raftswarm.raft.messages import TimeoutNow
from raftswarm.raft.roles import Leader, Transfer


def begin(core: Core, to: int) -> None:
    """Hand over to that voter, or to the one with the best log; a second wish replaces the first."""
    role = core.role
    if not isinstance(role, Leader):
        core.note("cannot hand over leadership: this member does not lead")
        return
    target = to or _best_successor(core, role)
    if target not in core.other_voters:
        core.note(f"cannot hand over leadership to member {to}: it is not another voter" if to else "no other voter")
        return
    role.transfer = Transfer(target, core.now + core.settings.election_seconds)


def go_on(core: Core, role: Leader) -> None:
    """Tell the target to campaign as soon as it has the whole log."""
    transfer = role.transfer
    if transfer is None or transfer.is_told or transfer.to not in role.progress:
        return
    if role.progress[transfer.to].match_index == core.log.last_index:
        _send_timeout_now(core, transfer.to)
        role.transfer = attrs.evolve(transfer, is_told=True)


def give_up_if_late(core: Core, role: Leader) -> None:
    """Lead on when the target has not taken over within an election timeout."""
    if role.transfer is not None and core.now >= role.transfer.gives_up_at:
        core.note(f"member {role.transfer.to} did not take over in time: leads on")
        role.transfer = None


def hand_over_at_once(core: Core, role: Leader) -> None:
    """A leader that was removed leaves no gap behind it."""
    target = _best_successor(core, role)
    if target:
        _send_timeout_now(core, target)


def _best_successor(core: Core, role: Leader) -> int:
    def fitness(peer: int) -> tuple[bool, int, int]:
        progress = role.progress[peer]
        is_there = core.now - progress.heard_at < core.settings.election_seconds
        return is_there, progress.match_index, -peer

    return max(core.other_voters, key=fitness, default=0)


def _send_timeout_now(core: Core, to: int) -> None:
    core.send(TimeoutNow(sender=core.id, to=to, term=core.term, boot=core.boot))
