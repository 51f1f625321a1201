"""One participant: `step` takes an event, `take_ready` hands out the work (docs/raft.md).

The one big idea: no clock, no I/O, no chance but what is handed in, so the same events give the same work. What happens
to whom stands here in two tables, events and messages; how it happens stands in the modules named after the sections of
the paper (`docs/raft.md` lists them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from random import Random

import attrs

from raftswarm.raft import elections, following, membership, openings, reads, replication, snapshots, transfer
from raftswarm.raft.core import Core, Identity, Work
from raftswarm.raft.durability import Durability
from raftswarm.raft.events import (
    Event,
    PeerConnected,
    PeerStopped,
    PeerUnreachable,
    Propose,
    ProposeConfiguration,
    ReadBarrier,
    Receive,
    SnapshotSaved,
    SnapshotSent,
    TimePassed,
    TransferLeadership,
    Written,
)
from raftswarm.raft.faults import find_fault
from raftswarm.raft.log_entry import Configuration, Entry, HardState, SnapshotMeta
from raftswarm.raft.log_view import LogView
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Opening,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    Regressed,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from raftswarm.raft.progress import Progress
from raftswarm.raft.read_queue import ReadRequests
from raftswarm.raft.ready import Leadership, Ready, Write
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.rules import NamedRule, Rule, RuleSink
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.tracing import TraceSink, picture, trace_rules, trace_start


@attrs.frozen(kw_only=True)
class StartingState:
    """What a member knows from its disk when it starts."""

    member_id: int
    cluster: str
    incarnation: int = 1
    boot: int
    """This start's number; it was made durable before the member was built."""
    hard_state: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    entries: Sequence[Entry] = ()
    """Entries after the snapshot, and maybe some before it; contiguous."""


class Member:
    """The Raft state machine of one participant; owned by whoever steps it."""

    def __init__(
        self,
        start: StartingState,
        *,
        settings: RaftSettings,
        chance: Random,
        now: float,
        trace: TraceSink | None = None,
        rules: RuleSink | None = None,
    ) -> None:
        """Begin with what is on disk; `trace` hears of every change (docs/formats.md), `rules` why things happen."""
        self._core = core = _restore(start, settings, chance, now)
        core.trace = trace
        core.named = rules if trace is None else trace_rules(core, trace, rules)
        trace_start(core)
        self._announced = Leadership(term=core.term, leader=0, is_leader=False)
        if not core.may_lead:
            core.role.deadline = inf
        elif core.quorum.is_met_by({core.id}):
            core.role.deadline = now  # Nobody else to wait for.
        else:
            core.role.deadline = core.draw_election_timeout()

    # Events in, work out.

    def step(self, event: Event, now: float) -> None:
        """Take in one event that happened at `now`."""
        core = self._core
        core.now = max(core.now, now)
        match event:
            case Receive(message):
                self._receive(message)
            case TimePassed():
                self._pass_time()
            case Written(number):
                self._take_written(number)
            case Propose():
                replication.propose(core, event)
            case ProposeConfiguration():
                membership.propose(core, event)
            case ReadBarrier(token):
                reads.ask(core, token)
            case TransferLeadership():
                transfer.begin(core, event)
            case SnapshotSaved():
                snapshots.save(core, event)
            case SnapshotSent():
                snapshots.end_transfer(core, event)
            case _:
                self._hear_of_link(event)

    def take_ready(self) -> Ready:
        """Hand out the work that the events since the last call made; empty when there is none."""
        core = self._core
        if isinstance(core.role, Leader):
            self._lead_on(core.role)
        else:
            reads.go_on(core)
        transfer.report(core)
        write = self._take_write() if core.has_unwritten else None
        work, core.work = core.work, Work()
        first, core.applied_index = core.applied_index + 1, core.commit_index
        ready = Ready(
            messages=work.messages,
            install=work.install,
            write=write,
            committed=core.log.entries(first, core.commit_index) if first <= core.commit_index else (),
            proposals=work.proposals,
            reads=work.reads,
            transfers=work.transfers,
            snapshots_to_send=work.snapshots_to_send,
            leadership=self._take_leadership(),
            notes=work.notes,
        )
        if core.trace is not None and ready:
            core.trace(picture(core, "Ready"))
        return ready

    def because(self, rule: NamedRule, **facts: object) -> None:
        """Name a rule by which whoever steps this member decided, for whoever listens."""
        self._core.because(rule, **facts)

    @property
    def has_news(self) -> bool:
        """Tell whether `take_ready`, called again, has news of the commit index even if nothing happens till then."""
        role = self._core.role
        return isinstance(role, Leader) and role.has_news

    @property
    def next_deadline(self) -> float:
        """When to step `TimePassed` at the latest, on the clock of `now`."""
        core = self._core
        return min(core.role.deadline, core.openings_due, reads.next_due(core), transfer.next_due(core))

    def _hear_of_link(self, event: PeerConnected | PeerStopped | PeerUnreachable) -> None:
        core = self._core
        match event:
            case PeerConnected(peer):
                openings.open_link(core, peer)
                replication.resume(core, peer)
            case PeerStopped(peer):
                replication.pause(core, peer)
                elections.hear_stopped(core, peer)
            case _:
                replication.pause(core, event.peer)

    def _receive(self, message: AnyMessage) -> None:
        core = self._core
        if message.to != core.id or message.sender == core.id:
            core.drop(message, f"it is for member {message.to}", Rule.NOT_HEARD)
        elif fault := find_fault(message):
            core.drop(message, fault, Rule.NOT_HEARD)
        elif isinstance(message, Opening):
            openings.take_opening(core, message)
        elif openings.hear(core, message):
            self._judge_term(message)

    def _judge_term(self, message: AnyMessage) -> None:
        """Follow into a later term (5.1), but for a few messages that must not take us there."""
        core = self._core
        core.receive(message)
        match message:
            case Regressed():
                openings.take_regressed(core, message)
                return
            case PreVote():
                elections.answer_pre_vote(core, message)
                return
            case RequestVote(term=term) if term > core.term and elections.is_sticky(core, message):
                core.because(Rule.VOTE_IGNORED, candidate=message.sender, term=term)
                return  # Whoever cannot hear our leader must not depose it (4.2.3).
            case PreVoteReply(granted=True):
                pass  # Its term is the one that was asked about: nobody is there yet.
            case _ if message.term > core.term:
                told = f"{type(message).__name__} of member {message.sender}"
                core.because(Rule.LATER_TERM, old=core.term, term=message.term, what=told)
                core.enter_term(message.term)
        self._act_on(message)

    def _act_on(self, message: AnyMessage) -> None:
        """The rules for servers (Figure 2): what a message means in a role, in our term or an earlier one."""
        core = self._core
        match core.role, message:
            case _, RequestVote():
                elections.answer_vote(core, message)
            case PreCandidate() as role, PreVoteReply():
                elections.count_pre_vote(core, role, message)
            case _, (AppendEntries() | Heartbeat() | InstallSnapshot()) if message.term < core.term:
                following.tell_later_term(core, message)
            case _ if message.term < core.term:  # Answers a question from an earlier term.
                core.because(Rule.LATE_ANSWER, what=type(message).__name__, term=message.term)
            case Candidate() as role, VoteReply():
                elections.count_vote(core, role, message)
            case Leader(), (AppendEntries() | Heartbeat() | InstallSnapshot()):
                core.drop(message, "this member leads that term itself")
            case _, (AppendEntries() | Heartbeat() | InstallSnapshot()):
                self._hear_leader(message)
            case Follower(), TimeoutNow():
                elections.campaign_for_transfer(core, message)
            case _, ReadIndexReply():
                reads.take_answer(core, message)
            case Leader() as role, (AppendReply() | HeartbeatReply() | SnapshotReply() | ReadIndex()):
                self._hear_follower(role, message)
            case _:
                core.because(Rule.NOT_ASKED_ANY_MORE, what=type(message).__name__)

    def _hear_leader(self, message: AppendEntries | Heartbeat | InstallSnapshot) -> None:
        core = self._core
        if not following.follow(core, message):
            return
        match message:
            case AppendEntries():
                following.take_entries(core, message)
            case Heartbeat():
                following.take_heartbeat(core, message)
            case _:
                snapshots.install(core, message)

    def _hear_follower(self, role: Leader, reply: AppendReply | HeartbeatReply | SnapshotReply | ReadIndex) -> None:
        core = self._core
        progress = role.progress.get(reply.sender)
        if progress is None:
            core.drop(reply, "its sender is not a member")
            return
        progress.heard_at = core.now
        match reply:
            case AppendReply():
                replication.take_append_reply(core, role, progress, reply)
            case HeartbeatReply():
                replication.take_heartbeat_reply(core, role, progress, reply)
            case SnapshotReply(sender=peer, match_index=match_index):
                replication.take_acknowledgement(core, role, progress, peer, match_index)
            case _:
                reads.take_request(core, role, reply)

    def _pass_time(self) -> None:
        core = self._core
        if core.now >= core.openings_due:
            openings.ask_again(core)
        if core.now < core.role.deadline:
            return
        if isinstance(core.role, Leader):
            replication.pass_time(core, core.role)
        else:
            elections.pass_time(core)

    def _take_written(self, number: int) -> None:
        core = self._core
        for message in core.durability.complete(number):
            match message:
                case VoteReply(to=to) if to == core.id:
                    if isinstance(core.role, Candidate) and message.term == core.term:
                        core.receive(message)
                        elections.count_vote(core, core.role, message)
                    else:
                        core.because(Rule.OWN_VOTE_LATE, term=message.term)
                case RequestVote() | VoteReply() | AppendReply() | SnapshotReply() if message.term < core.term:
                    # Nobody waits for it, and a later leader may have made it untrue.
                    what = type(message).__name__
                    core.because(Rule.LATE_WRITE, what=what, term=message.term, case=what)
                case _:
                    core.work.messages.append(message)
        if isinstance(core.role, Leader):
            replication.advance_commit(core, core.role)

    def _lead_on(self, role: Leader) -> None:
        """What all events of a turn lead to is sent once."""
        core = self._core
        if reads.needs_round(core, role):
            replication.send_heartbeats(core, role)
        membership.go_on(core, role)
        replication.send_entries(core, role)
        transfer.go_on(core, role)

    def _take_write(self) -> Write:
        core = self._core
        has_hard_state = core.hard_state_write > core.durability.handed_out
        truncate_after, entries = core.log.take_unwritten()
        return Write(
            number=core.durability.hand_out(core.log.last_index, core.now),
            hard_state=core.hard_state if has_hard_state else None,
            truncate_after=truncate_after,
            entries=entries,
            last_index=core.log.last_index,
            last_term=core.log.last_term,
        )

    def _take_leadership(self) -> Leadership | None:
        core, known = self._core, self._announced
        leader = core.leader
        is_leader = leader == core.id
        if (known.term, known.leader, known.is_leader) == (core.term, leader, is_leader):
            return None
        self._announced = Leadership(term=core.term, leader=leader, is_leader=is_leader)
        return self._announced

    # To look at.

    @property
    def id(self) -> int:
        """This member."""
        return self._core.id

    @property
    def term(self) -> int:
        """The current term, durable or about to be."""
        return self._core.term

    @property
    def hard_state(self) -> HardState:
        """Term and vote, durable or about to be."""
        return self._core.hard_state

    @property
    def role(self) -> Role:
        """What this member is in this term."""
        return self._core.role

    @property
    def leader(self) -> int:
        """Who leads this term, as far as known; 0 otherwise."""
        return self._core.leader

    @property
    def is_leader(self) -> bool:
        """Tell whether this member leads."""
        return isinstance(self._core.role, Leader)

    @property
    def may_vote(self) -> bool:
        """Tell whether this member's memory is known to be whole, so that it may vote and campaign."""
        return self._core.may_vote

    @property
    def is_regressed(self) -> bool:
        """Tell whether a peer knows that this member has lost what it had durably."""
        return self._core.is_regressed

    @property
    def configuration(self) -> Configuration:
        """The members in force: the newest in the log, committed or not (4.1)."""
        return self._core.configuration

    @property
    def committed_configuration(self) -> Configuration:
        """The newest members that are known to be committed."""
        return self._core.committed_configuration

    @property
    def commit_index(self) -> int:
        """Entries up to here are known to be committed."""
        return self._core.commit_index

    @property
    def applied_index(self) -> int:
        """Entries up to here were handed out to be applied."""
        return self._core.applied_index

    @property
    def proposal_room(self) -> float:
        """How many bytes a batch may have to be taken now; infinite when this member would take or refuse any."""
        return replication.proposal_room(self._core)

    @property
    def first_index(self) -> int:
        """The oldest entry in memory."""
        return self._core.log.first_index

    @property
    def last_index(self) -> int:
        """Where the log ends."""
        return self._core.log.last_index

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self._core.log.last_term

    @property
    def durable_index(self) -> int:
        """Every entry up to here is on this member's disk, and no write under way removes it."""
        return self._core.durability.durable_index

    @property
    def snapshot(self) -> SnapshotMeta:
        """The newest snapshot that the log is cut behind."""
        return self._core.log.snapshot

    @property
    def progress(self) -> Mapping[int, Progress]:
        """How far each follower is; empty unless this member leads."""
        return self._core.role.progress if isinstance(self._core.role, Leader) else {}

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at that place; None where the log does not reach."""
        return self._core.log.term_at(index)

    def entries(self, first: int, last: int) -> tuple[Entry, ...]:
        """Return entries that are in memory, both ends included."""
        return self._core.log.entries(first, last)

    def describe_snapshot(self, index: int) -> SnapshotMeta:
        """Return what a snapshot of the state after that entry stands for."""
        return self._core.log.describe_snapshot(index)


def _restore(start: StartingState, settings: RaftSettings, chance: Random, now: float) -> Core:
    """Build the state that a start begins with; what was not on disk is forgotten (Figure 2, volatile state)."""
    log = LogView(start.snapshot, start.entries)
    term = max(start.hard_state.term, log.last_term)  # A snapshot may be installed just before its term is written.
    start_number = chance.randrange(1, 2**62)
    core = Core(
        identity=Identity(
            member_id=start.member_id,
            cluster=start.cluster,
            incarnation=start.incarnation,
            boot=start.boot,
            start=start_number,
            term=term,
            last_index=log.last_index,
            last_term=log.last_term,
        ),
        settings=settings,
        chance=chance,
        now=now,
        term=start.hard_state.term,
        voted_for=start.hard_state.voted_for,
        log=log,
        commit_index=start.snapshot.index,
        applied_index=start.snapshot.index,
        role=Follower(deadline=now),
        durability=Durability(durable_index=log.last_index),
        is_trusted=start.boot <= 1 and term == 0 and log.last_index == 0,
        openings_due=now + settings.heartbeat_seconds,
        heard_leader_at=now,  # Maybe, just before this start.
        read_requests=ReadRequests(newest=start_number),
    )
    if core.is_voter and core.quorum.is_met_by({core.id}):  # An empty log names no voters at all.
        core.heard_leader_at = -inf
    if term > core.term:
        core.set_hard_state(term, voted_for=0)
    if core.may_vote:
        core.openings_due = inf
    return core
