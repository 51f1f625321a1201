"""Openings: members tell each other how much they remember, to find one whose disk was rolled back (docs/raft.md).

The one big idea: a restarted member votes only after a majority (itself counted) has found nothing missing in what it
remembers. It asks again until it has that, so neither a lost message nor an older link can keep it waiting.
"""

from __future__ import annotations

from raftswarm.raft import replication
from raftswarm.raft.core import Core
from raftswarm.raft.messages import AnyMessage, Opening, PreVote, PreVoteReply, Regressed
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule


def open_link(core: Core, peer: int, *, answers: int = 0) -> None:
    """Say who we are and what this start found on its disk; all of that is durable."""
    identity = core.identity
    core.work.messages.append(
        Opening(
            sender=core.id,
            to=peer,
            term=identity.term,
            boot=identity.boot,
            cluster=identity.cluster,
            incarnation=identity.incarnation,
            start=identity.start,
            last_index=identity.last_index,
            last_term=identity.last_term,
            answers=answers,
        )
    )


def ask_again(core: Core) -> None:
    """Repeat our opening to those who have not answered it, until a majority has."""
    if core.may_vote or core.is_regressed:
        core.openings_due = float("inf")
        return
    core.because(Rule.OPENS_AGAIN)
    core.openings_due = core.now + core.settings.heartbeat_seconds
    for peer in core.peers:
        if peer not in core.met:
            open_link(core, peer)


def hear(core: Core, message: AnyMessage) -> bool:
    """Note what a message claims of its sender's disk; False when it must not count."""
    peer = core.acquaintance(message.sender)
    if not isinstance(message, (Opening, Regressed)):
        if peer.is_from_earlier_boot(message):
            why = f"it is from boot {message.boot}, and the sender has come to boot {peer.boot}"
            core.drop(message, why, Rule.NOT_HEARD)
            _refuse(core, message)
            return False
        if peer.is_regressed:
            core.drop(message, "its sender remembers less than it once claimed", Rule.NOT_HEARD)
            return False
    if message.boot > peer.boot:
        core.because(Rule.HEARS_OF_START, peer=message.sender, boot=message.boot)
        role = core.role
        if isinstance(role, Leader) and message.sender in role.progress:
            match_index = role.progress[message.sender].match_index
            peer.hear_acknowledged(role.term, match_index, core.commit_index)
        peer.begin_boot(message.boot)
    is_question = isinstance(message, PreVote) or (isinstance(message, PreVoteReply) and message.granted)
    if message.boot and not is_question and not isinstance(message, Opening):
        peer.hear_term(message.term)
    return True


def take_opening(core: Core, opening: Opening) -> None:
    """Compare what a start of a peer remembers with what the peer claimed before."""
    if opening.cluster != core.identity.cluster:
        why = f"it is of cluster {opening.cluster!r}, this is {core.identity.cluster!r}"
        core.drop(opening, why, Rule.NOT_HEARD)
        return
    hear(core, opening)
    peer = core.acquaintance(opening.sender)
    if not peer.judge(opening):
        _refuse(core, opening, start=opening.start)
        if peer.is_regressed:
            core.because(Rule.PEER_REGRESSED, peer=opening.sender)
            core.note(f"member {opening.sender} remembers less than it once claimed; remove it and add it again")
            _discount(core, opening.sender)
        else:
            core.because(Rule.OPENING_LATE, peer=opening.sender)
        return
    core.because(Rule.MEETS, peer=opening.sender)
    if opening.answers == 0:
        open_link(core, opening.sender, answers=opening.start)
        replication.resume(core, opening.sender)
    elif opening.answers == core.identity.start:
        core.met.add(opening.sender)


def take_regressed(core: Core, message: Regressed) -> None:
    """A peer remembers more of us than we do: take no further part in decisions."""
    if message.incarnation != core.identity.incarnation:
        core.because(Rule.NEW_INCARNATION, peer=message.sender)
        open_link(core, message.sender)  # It speaks of an earlier incarnation: it does not know of this one yet.
    elif message.known_boot > core.boot or message.start == core.identity.start:
        if not core.is_regressed:
            core.because(Rule.IS_REGRESSED, peer=message.sender)
            core.note(
                f"member {message.sender} knows this one to have been in term {message.known_term} with entry "
                f"{message.known_index}: its disk was set back; remove it and add it again"
            )
        core.is_regressed = True
        if isinstance(core.role, Leader):
            core.step_down("its disk was set back", "docs/raft.md, Openings", "SET_BACK")
    else:
        core.because(Rule.REFUSAL_LATE, peer=message.sender)


def _discount(core: Core, peer: int) -> None:
    """What a regressed member acknowledged no longer counts."""
    if isinstance(core.role, Leader) and peer in core.role.progress:
        core.role.progress[peer].match_index = 0
        core.role.progress[peer].probe(paused=True)


def _refuse(core: Core, message: AnyMessage, *, start: int = 0) -> None:
    peer = core.acquaintance(message.sender)
    core.send(
        Regressed(
            sender=core.id,
            to=message.sender,
            term=core.term,
            boot=core.boot,
            incarnation=message.incarnation if isinstance(message, Opening) else peer.incarnation,
            start=start,
            known_boot=peer.boot,
            known_term=peer.required.term,
            known_index=max(peer.required.led_index, peer.required.committed_index),
        )
    )
