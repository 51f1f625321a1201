"""A leader's work: append, send, count, commit (5.3, 5.4.2).

The one big idea: events only change what is known; what each follower should be sent next is worked out once per turn,
in `send_entries`, so that everything a turn brought shares its messages.
"""

from __future__ import annotations

from math import inf

from raftswarm.raft import leases, reads, snapshots, succession, transfer
from raftswarm.raft.core import Core
from raftswarm.raft.events import Propose
from raftswarm.raft.log_entry import Entry, EntryKind
from raftswarm.raft.log_view import LogView, weigh
from raftswarm.raft.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply
from raftswarm.raft.progress import Progress, Stage
from raftswarm.raft.ready import ProposalOutcome
from raftswarm.raft.roles import Candidate, Leader
from raftswarm.raft.rules import Rule


def lead(core: Core) -> None:
    """Begin to lead, with a blank entry: only behind one of its own term may a leader count earlier ones (5.4.2, 8)."""
    assert isinstance(core.role, Candidate)
    log = core.log
    role = Leader(
        term=core.term,
        deadline=core.now + core.settings.heartbeat_seconds,
        began_at=core.now,
        first_index=log.last_index + 1,
        progress={peer: Progress(next_index=log.last_index + 1, heard_at=core.now) for peer in core.audience},
        successors=tuple(core.other_voters),
        uncommitted_bytes=log.weigh_between(core.commit_index + 1, log.last_index),
        commit_before=core.commit_index,
    )
    core.become(role)
    append(core, role, EntryKind.BLANK)


def propose(core: Core, event: Propose) -> None:
    """Append a batch, if leading and not too much is uncommitted already."""
    role = core.role
    refused = why_not_append(core, len(event.batch.data))
    if refused or not isinstance(role, Leader):
        core.because(Rule.PROPOSAL_REFUSED, why=refused)
        core.work.proposals.append(ProposalOutcome(event.token, refused=refused, leader=core.leader))
        return
    entry = append(
        core,
        role,
        EntryKind.COMMANDS,
        data=event.batch.data,
        command_count=event.batch.command_count,
        time_ns=event.time_ns,
    )
    core.work.proposals.append(ProposalOutcome(event.token, index=entry.index, term=entry.term))


def proposal_room(core: Core) -> float:
    """Return how many bytes fit in a leader's uncommitted tail; one proposal may always be on its way.

    None fit while it is decided who leads next: what waits is taken then, or told whom to ask.
    """
    if transfer.is_under_way(core):
        return 0
    match core.role:
        case Leader(uncommitted_bytes=waiting) if waiting:
            return core.settings.uncommitted_bytes - waiting
        case _:
            return inf


def why_not_append(core: Core, size: int) -> str:
    """Return why a proposal of that size cannot be taken now; empty when it can."""
    if refused := why_closed(core):
        return refused
    room = proposal_room(core)
    if size > room:
        return f"{core.settings.uncommitted_bytes - room} bytes wait to be committed; retry when some are"
    return ""


def why_closed(core: Core) -> str:
    """Return why nothing at all may be appended here; empty for a leader that means to stay one."""
    match core.role:
        case Leader(transfer=None):
            return ""
        case Leader(transfer=transfer) if transfer is not None:
            return f"leadership is being handed to member {transfer.to}; retry in a moment"
        case _:
            return "this member does not lead"


def append(
    core: Core, role: Leader, kind: EntryKind, *, data: bytes = b"", command_count: int = 0, time_ns: int = 0
) -> Entry:
    """Add an entry of our term to the log."""
    log = core.log
    entry = Entry(
        index=log.last_index + 1,
        term=core.term,
        kind=kind,
        first_command=log.commands_through(log.last_index) + 1,
        command_count=command_count,
        # Strictly later than the entry before, also when this leader's clock is behind: times order history.
        time_ns=max(time_ns, log.last_time_ns + 1),
        data=data,
    )
    core.append(entry)
    role.uncommitted_bytes += weigh(entry)
    return entry


def follow_configuration(core: Core, role: Leader) -> None:
    """Serve the members that are new, forget those that are gone for good."""
    next_index = core.log.last_index + 1
    role.progress = {
        peer: role.progress.get(peer) or Progress(next_index=next_index, heard_at=core.now) for peer in core.audience
    }
    succession.rank(core, role)


# What a leader sends.


def send_entries(core: Core, role: Leader, *, at_once: bool = False) -> None:
    """Send every follower what it lacks and may have, and news of the commit index.

    The newest news wait for the next turn, unless they are to go at once: whoever proposed what is committed now may
    have more to propose, and then they go with that.
    """
    told_at_once = core.commit_index if at_once else role.commit_before
    role.has_news = False
    for peer, progress in role.progress.items():
        match progress.stage:
            case Stage.PROBE if not progress.paused:
                if _send_append(core, role, peer, progress, core.settings.append_message_bytes):
                    progress.probe_sent(core.now)
            case Stage.REPLICATE:
                _fill_window(core, role, peer, progress)
                if progress.next_index > core.log.last_index and progress.commit_sent < core.commit_index:
                    if progress.commit_sent < told_at_once:
                        _send_append(core, role, peer, progress, 0)
                    else:
                        role.has_news = True
            case _:
                pass
    role.commit_before = core.commit_index


def _fill_window(core: Core, role: Leader, peer: int, progress: Progress) -> None:
    settings = core.settings
    while progress.next_index <= core.log.last_index:
        room = settings.append_window_bytes - progress.in_flight_bytes
        next_size = weigh(core.log.entry(progress.next_index)) if progress.next_index >= core.log.first_index else 0
        is_full = progress.in_flight_messages >= settings.append_window_messages or next_size > room
        if progress.in_flight_messages and is_full:
            if core.named is not None:
                core.because(Rule.WINDOW_FULL, peer=peer)
            return
        if not _send_append(core, role, peer, progress, min(room, settings.append_message_bytes)):
            return


def _send_append(core: Core, role: Leader, peer: int, progress: Progress, limit_bytes: int) -> bool:
    """Send one message from `next_index` on; False when only a snapshot can help."""
    log = core.log
    previous_index = progress.next_index - 1
    previous_term = log.term_at(previous_index)
    if previous_term is None:
        snapshots.begin_transfer(core, peer, progress)
        return False
    entries, size = log.entries_within(progress.next_index, limit_bytes)
    core.send(
        AppendEntries(
            sender=core.id,
            to=peer,
            term=core.term,
            boot=core.boot,
            previous_index=previous_index,
            previous_term=previous_term,
            entries=entries,
            commit=core.commit_index,
            successors=role.successors,
        )
    )
    progress.commit_sent = min(core.commit_index, previous_index + len(entries))
    if entries and progress.stage is Stage.REPLICATE:
        progress.sent(entries[-1].index, size, core.now)
    return True


def pass_time(core: Core, role: Leader) -> None:
    """A heartbeat is due."""
    if core.settings.check_quorum and is_cut_off(core, role):
        core.step_down(
            f"no quorum was heard from for {core.settings.election_seconds} s", "dissertation 6.2", "CUT_OFF"
        )
        return
    transfer.give_up_if_late(core, role)
    reads.refuse_late(core, role)
    succession.rank(core, role)
    succession.hand_over_if_better(core, role)
    role.deadline = core.next_heartbeat()
    send_heartbeats(core, role)


def is_cut_off(core: Core, role: Leader) -> bool:
    """Tell whether the last contact with a quorum is an election timeout ago (check-quorum, 6.2)."""
    heard_at = core.quorum.reached(
        lambda member: core.now if member == core.id or member not in role.progress else role.progress[member].heard_at
    )
    return heard_at is not None and core.now - heard_at >= core.settings.election_seconds


def send_heartbeats(core: Core, role: Leader) -> None:
    """Tell everybody that we lead; the round confirms reads (6.4)."""
    reads.begin_round(core, role)
    for peer, progress in role.progress.items():
        core.send(
            Heartbeat(
                sender=core.id,
                to=peer,
                term=core.term,
                boot=core.boot,
                commit=min(core.commit_index, progress.match_index),
                round=role.reads.newest_round,
                successors=role.successors,
            )
        )
    reads.confirm(core, role)  # A single voter waits for nobody.


# What is heard of followers.


def resume(core: Core, peer: int) -> None:
    """A link is open, or the peer was started: nothing that was sent before counts on arriving."""
    progress = core.role.progress.get(peer) if isinstance(core.role, Leader) else None
    if progress is not None and progress.stage is not Stage.SNAPSHOT:
        core.because(Rule.LINK_OPEN, peer=peer)
        progress.probe()


def pause(core: Core, peer: int) -> None:
    """Messages to the peer get lost: send no more entries until it is heard from."""
    progress = core.role.progress.get(peer) if isinstance(core.role, Leader) else None
    if progress is not None and progress.stage is not Stage.SNAPSHOT:
        core.because(Rule.LINK_LOSES, peer=peer)
        progress.probe(paused=True)


def take_append_reply(core: Core, role: Leader, progress: Progress, reply: AppendReply) -> None:
    """A follower has entries durably, or refuses to take them where we tried."""
    if reply.success:
        take_acknowledgement(core, role, progress, reply.sender, reply.match_index)
    else:
        _back_up(core, progress, reply)


def take_acknowledgement(core: Core, role: Leader, progress: Progress, peer: int, match_index: int) -> None:
    """A follower's log agrees with ours up to there, durably."""
    if match_index > core.log.last_index:
        core.because(Rule.CLAIMS_TOO_MUCH, peer=peer, index=match_index)
        core.note(f"member {peer} acknowledges entry {match_index}; our log ends at {core.log.last_index}")
        return
    if progress.snapshot is not None and match_index >= min(progress.snapshot.index, core.log.first_index - 1):
        core.because(Rule.SNAPSHOT_TAKEN, peer=peer)
        progress.probe()  # It has the snapshot, or needs none any more.
    progress.acknowledge(match_index, core.now)
    if match_index > core.commit_index:
        advance_commit(core, role)


def _back_up(core: Core, progress: Progress, reply: AppendReply) -> None:
    """Go back by whole terms to where the logs may agree (5.3)."""
    refused = reply.match_index
    is_stale = not progress.match_index < refused < progress.next_index or progress.stage is Stage.SNAPSHOT
    if is_stale or (progress.stage is Stage.PROBE and refused != progress.next_index - 1):
        core.because(Rule.LATE_REFUSAL, peer=reply.sender)
        return
    progress.probe(min(refused, _next_index_after_refusal(core, reply)))
    if core.named is not None:
        case = _describe_step_back(core, refused, progress.next_index)
        core.because(Rule.BACKS_UP, next_index=progress.next_index, peer=reply.sender, case=case)


def _describe_step_back(core: Core, refused: int, next_index: int) -> str:
    """Tell over how much of our log a refusal has led us back."""
    log = core.log
    terms = {entry.term for entry in log.entries(max(next_index, log.first_index), min(refused, log.last_index))}
    return "OVER_TERMS" if len(terms) > 1 else "WITHIN_A_TERM"


def _next_index_after_refusal(core: Core, reply: AppendReply) -> int:
    if reply.conflict_term == 0:
        return reply.conflict_index
    ours = core.log.last_index_with_term_at_most(reply.match_index, reply.conflict_term)
    if ours >= reply.conflict_index and core.log.term_at(ours) == reply.conflict_term:
        return ours + 1
    return min(ours + 1, reply.conflict_index)


def take_heartbeat_reply(core: Core, role: Leader, progress: Progress, reply: HeartbeatReply) -> None:
    """A follower still follows; whatever got lost on the way to it is sent again."""
    leases.check_promise(core, role, reply)
    progress.confirmed_round = max(progress.confirmed_round, min(reply.round, role.reads.newest_round))
    reads.confirm(core, role)
    match progress.stage:
        case Stage.PROBE if core.now - progress.probed_at >= core.settings.heartbeat_seconds:
            core.because(Rule.PROBE_REPEATED, peer=reply.sender)
            progress.paused = False
        case Stage.REPLICATE if progress.is_stalled(core.now, 2 * core.settings.heartbeat_seconds):
            seconds = 2 * core.settings.heartbeat_seconds
            core.because(Rule.ENTRIES_REPEATED, peer=reply.sender, seconds=seconds)
            progress.probe()
        case Stage.SNAPSHOT:
            snapshots.remind(core, reply.sender, progress)
        case _:
            pass


def may_commit_by_counting(log: LogView, index: int, *, commit_index: int, term: int) -> bool:
    """Tell whether a leader may commit what a quorum has: only entries of its own term; what is before comes along.

    Of earlier terms' entries, counting says nothing: another leader may still overwrite them (5.4.2, Figure 8).
    """
    return index > commit_index and log.term_at(index) == term


def advance_commit(core: Core, role: Leader) -> None:
    """Commit what a quorum has durably."""
    if core.commit_index == core.log.last_index:
        return

    def durable_at(member: int) -> int:
        if member == core.id:
            return core.durability.durable_index
        progress = role.progress.get(member)
        return progress.match_index if progress else 0

    index = core.quorum.reached(durable_at)
    if index is None or not may_commit_by_counting(core.log, index, commit_index=core.commit_index, term=core.term):
        if core.named is not None and index is not None and index > core.commit_index:
            core.because(Rule.COMMIT_HELD_BACK, index=index, term=core.log.term_at(index))
        return
    decides_change = core.commit_index < core.log.configuration_index <= index
    role.uncommitted_bytes -= core.log.weigh_between(core.commit_index + 1, index)
    core.commit_to(index)
    if decides_change:
        _conclude_change(core, role)


def _conclude_change(core: Core, role: Leader) -> None:
    """A change is committed: those that it removes hear of it now, or never; the leader may be one of them (4.2.2)."""
    if core.is_voter and role.progress.keys() == {*core.peers}:
        return  # Nobody goes.
    core.because(Rule.TELLS_REMOVED)
    send_entries(core, role, at_once=True)
    if core.is_voter:
        follow_configuration(core, role)
    else:
        transfer.hand_over_at_once(core, role)
        core.step_down("the change that removes it is committed", "dissertation 4.2.2", "REMOVED")
