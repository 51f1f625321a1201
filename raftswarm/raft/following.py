"""A follower's work: take entries, tell what is durable, learn what is committed (5.3)."""

from __future__ import annotations

from raftswarm.raft import leases, openings
from raftswarm.raft.core import Core
from raftswarm.raft.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply, InstallSnapshot
from raftswarm.raft.roles import Follower
from raftswarm.raft.rules import Rule


def follow(core: Core, message: AppendEntries | Heartbeat | InstallSnapshot) -> bool:
    """The leader of this term speaks: wait on. False when we already follow another: then one of them is lying."""
    if not isinstance(core.role, Follower):
        core.become(Follower(deadline=core.role.deadline))
    role = core.role
    assert isinstance(role, Follower)
    if role.leader not in {0, message.sender}:
        core.drop(message, f"member {role.leader} leads this term")
        return False
    if role.leader == 0:
        core.note(f"follows member {message.sender} in term {core.term}")
        core.because(Rule.FOLLOWS, leader=message.sender, term=core.term)
        role.leader = message.sender
    core.heard_leader_at = core.now
    role.deadline = core.draw_election_timeout()
    core.hint = None
    role.asked = None
    if not isinstance(message, InstallSnapshot):
        role.successors = message.successors
    return True


def take_entries(core: Core, message: AppendEntries) -> None:
    """Append what is new where the logs agree; cut only on a real conflict: late and repeated messages do no harm."""
    log = core.log
    previous_index, entries = message.previous_index, message.entries
    if previous_index < core.commit_index:
        # A late message: every leader since has what is committed (5.4.3), so that part is here already.
        core.because(Rule.ENTRIES_COMMITTED)
        skipped = entries[: core.commit_index - previous_index]
        if any(log.term_at(entry.index) not in {None, entry.term} for entry in skipped):
            core.drop(message, f"it contradicts what is committed up to entry {core.commit_index}")
            return
        entries = entries[len(skipped) :]
        previous_index = core.commit_index
    elif log.term_at(previous_index) != message.previous_term:
        _refuse(core, message)
        return
    new = entries[log.first_conflict(entries) :]
    if new:
        before = new[0].index - 1
        if new[0].first_command != log.commands_through(before) + 1:
            core.drop(message, "it counts the commands before it otherwise than our log")
            return
        if before < log.last_index:
            core.truncate(before)
        for entry in new:
            core.append(entry)
    elif entries:
        core.because(Rule.ENTRIES_KNOWN)
    match_index = previous_index + len(entries)
    core.commit_to(min(message.commit, match_index))
    core.send_when_written(
        AppendReply(
            sender=core.id,
            to=message.sender,
            term=core.term,
            boot=core.boot,
            success=True,
            match_index=match_index,
        )
    )


def _refuse(core: Core, message: AppendEntries) -> None:
    """Say where our log differs, by a whole term, so that the leader need not search entry by entry (5.3)."""
    log = core.log
    conflict_term = 0
    conflict_index = log.last_index + 1
    if log.first_index <= message.previous_index <= log.last_index:
        conflict_term = log.entry(message.previous_index).term
        conflict_index = log.first_index_of_term_at(message.previous_index)
    why = f"its own entry there is of term {conflict_term}" if conflict_term else f"its log ends at {log.last_index}"
    case = "OTHER_TERM" if conflict_term else "TOO_SHORT"
    core.because(Rule.LOGS_DIFFER, index=message.previous_index, term=message.previous_term, why=why, case=case)
    core.send(
        AppendReply(
            sender=core.id,
            to=message.sender,
            term=core.term,
            boot=core.boot,
            success=False,
            match_index=message.previous_index,
            conflict_term=conflict_term,
            conflict_index=conflict_index,
        )
    )


def take_heartbeat(core: Core, message: Heartbeat) -> None:
    """The leader is there; what it knows us to have may be committed.

    It may know that of an earlier start, and the disk may have been set back since: until it has compared this start
    with what it remembers, only what it sends counts (docs/raft.md, Openings).
    """
    if message.commit <= core.log.last_index:
        if message.sender in core.met:
            core.commit_to(message.commit)
        elif message.commit > core.commit_index:
            openings.open_link(core, message.sender)  # Its answer was lost, or it has begun to lead since.
    else:
        core.because(Rule.PROMISES_TOO_MUCH, leader=message.sender, index=message.commit)
        core.note(f"member {message.sender} counts on entry {message.commit}; our log ends at {core.log.last_index}")
    core.send(
        HeartbeatReply(
            sender=core.id,
            to=message.sender,
            term=core.term,
            boot=core.boot,
            round=message.round,
            last_index=core.durability.durable_index,
            promise_seconds=leases.promise_seconds(core),
        )
    )


def tell_later_term(core: Core, message: AppendEntries | Heartbeat | InstallSnapshot) -> None:
    """A deposed leader learns of it (5.1)."""
    core.because(Rule.EARLIER_TERM, what=type(message).__name__, term=message.term)
    core.send(HeartbeatReply(sender=core.id, to=message.sender, term=core.term, boot=core.boot))
