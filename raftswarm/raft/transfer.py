"""Leadership transfer: bring one voter up to date, take nothing new meanwhile, tell it to campaign (3.10).

The one big idea: a wish outlives the leadership that it ends. Whoever asked is told once how it went: when the heir is
seen to lead, when another is, or when it is too late for either.
"""

from __future__ import annotations

from math import inf

import attrs

from raftswarm.raft.core import Core, TransferWish
from raftswarm.raft.events import TransferLeadership
from raftswarm.raft.messages import TimeoutNow
from raftswarm.raft.priorities import priority_of
from raftswarm.raft.ready import TransferOutcome
from raftswarm.raft.roles import Leader, Transfer
from raftswarm.raft.rules import Rule


def begin(core: Core, event: TransferLeadership) -> None:
    """Hand over to that voter, or to the one with the best log; a second wish replaces the first."""
    role = core.role
    if not isinstance(role, Leader):
        _refuse(core, event, "this member does not lead", case="NO_LEADER")
        return
    target = event.to or best_successor(core, role)
    if target not in core.other_voters:
        why = f"member {target} is not another voter" if target else "there is no other voter"
        _refuse(core, event, why, case="NO_OTHER_VOTER")
        return
    if core.transfer_wish is not None:
        core.because(Rule.TRANSFER_REPLACED)
        _end_wish(core, core.transfer_wish, "a later wish took its place")
    gives_up_at = core.now + core.settings.election_seconds
    core.transfer_wish = TransferWish(
        token=event.token,
        to=target,
        is_choosy=bool(event.to),
        term=core.term,
        ends_at=gives_up_at + core.settings.election_seconds,
    )
    role.transfer = Transfer(target, gives_up_at)
    core.because(Rule.TRANSFER_BEGUN, heir=target)


def _refuse(core: Core, event: TransferLeadership, why: str, *, case: str) -> None:
    core.because(Rule.TRANSFER_REFUSED, why=why, case=case)
    _tell(core, event.token, why)


def go_on(core: Core, role: Leader) -> None:
    """Tell the target to campaign as soon as it has the whole log."""
    transfer = role.transfer
    if transfer is None or transfer.is_told or transfer.to not in role.progress:
        return
    if role.progress[transfer.to].match_index == core.log.last_index:
        _send_timeout_now(core, role, transfer.to)
        role.transfer = attrs.evolve(transfer, is_told=True)


def is_under_way(core: Core) -> bool:
    """Tell whether it is about to be known who leads next: the heir, or this member still."""
    match core.role:
        case Leader(transfer=transfer):
            return transfer is not None
        case _:
            wish = core.transfer_wish
            return wish is not None and core.leader == 0 and core.now < wish.ends_at


def give_up_if_late(core: Core, role: Leader) -> None:
    """Lead on when the target has not taken over within an election timeout."""
    if role.transfer is not None and core.now >= role.transfer.gives_up_at:
        core.because(Rule.TRANSFER_GIVEN_UP, heir=role.transfer.to)
        role.failed_heirs[role.transfer.to] = core.now
        role.transfer = None


def hand_over_at_once(core: Core, role: Leader) -> None:
    """A leader that was removed leaves no gap behind it: there are voters, and it is none of them."""
    _send_timeout_now(core, role, best_successor(core, role))


def best_successor(core: Core, role: Leader) -> int:
    """Return the voter to hand over to: one that answers, with the best log; 0 if there is none."""

    def fitness(peer: int) -> tuple[bool, int, int, int]:
        progress = role.progress[peer]
        is_there = core.now - progress.heard_at < core.settings.election_seconds
        return is_there, progress.match_index, priority_of(core.configuration, peer), -peer

    return max(core.other_voters, key=fitness, default=0)


def _send_timeout_now(core: Core, role: Leader, to: int) -> None:
    # It may arrive at any time from now on, and voters then forget their promises: no lease in this term any more.
    role.gave_up_lease = True
    core.because(Rule.TRANSFER_TOLD, heir=to)
    core.send(TimeoutNow(sender=core.id, to=to, term=core.term, boot=core.boot))


# How it went.


def report(core: Core) -> None:
    """Tell whoever wished for a transfer how it has ended, if it has."""
    wish = core.transfer_wish
    if wish is None:
        return
    match core.role:
        case Leader(transfer=transfer) if core.term == wish.term:
            if transfer is None:
                is_voter = wish.to in core.other_voters
                why = "did not take over in time" if is_voter else "is not another voter any more"
                _end_wish(core, wish, f"member {wish.to} {why}; this member leads on")
        case _ if core.leader == wish.to or (core.leader not in {0, core.id} and not wish.is_choosy):
            core.because(Rule.TRANSFER_DONE, leader=core.leader)
            _end_wish(core, wish)
        case _ if core.leader:
            _end_wish(core, wish, f"member {core.leader} leads instead of member {wish.to}")
        case _ if core.now >= wish.ends_at:
            _end_wish(core, wish, "leadership was given up, and nobody is known to lead yet")


def next_due(core: Core) -> float:
    """When to look at how a transfer went, if nothing is heard before."""
    wish = core.transfer_wish
    return inf if wish is None or isinstance(core.role, Leader) else wish.ends_at


def _end_wish(core: Core, wish: TransferWish, failed: str = "") -> None:
    if failed:
        core.because(Rule.TRANSFER_FAILED)
    _tell(core, wish.token, failed)
    core.transfer_wish = None


def _tell(core: Core, token: int, failed: str) -> None:
    if failed:
        core.note(f"leadership is not handed over: {failed}")
    if token:
        core.work.transfers.append(TransferOutcome(token, core.leader, failed))
