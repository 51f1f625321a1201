"""What all parts of a member share, and the few verbs that change it.

The parts (`elections`, `following`, `replication`, `membership`, `reads`, `snapshots`, `transfer`, `openings`) are
functions over this state; `member` calls them. Two rules that every part relies on stand here: a role changes only as
`ROLE_CHANGES` allows, and no message leaves before what it claims is on disk.
"""

from __future__ import annotations

from math import floor
from random import Random

import attrs

from raftswarm.raft.acquaintances import Acquaintance
from raftswarm.raft.durability import Durability
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, SnapshotMeta
from raftswarm.raft.log_view import LogView
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.priorities import timer_slice
from raftswarm.raft.quorum import Quorum
from raftswarm.raft.read_queue import ReadRequests
from raftswarm.raft.ready import ProposalOutcome, ReadOutcome, SnapshotTransfer, TransferOutcome
from raftswarm.raft.roles import ROLE_CHANGES, Follower, Leader, Role
from raftswarm.raft.rules import NamedRule, Rule, RuleSink
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.tracing import BECOMES, TraceSink, picture, trace_configuration, trace_message


@attrs.frozen(kw_only=True)
class Identity:
    """Who speaks, and how much this start found on its disk."""

    member_id: int
    cluster: str
    incarnation: int
    boot: int
    start: int
    """Drawn at random: no other start has it."""
    term: int
    last_index: int
    last_term: int


@attrs.frozen
class LeaderHint:
    """The leader's process has stopped, as far as its closed port tells (docs/raft.md)."""

    leader: int
    expires_at: float


@attrs.frozen(kw_only=True)
class TransferWish:
    """Somebody waits to hear how a transfer of leadership ends."""

    token: int
    to: int
    is_choosy: bool
    """Only that one will do; otherwise anybody else."""
    term: int
    """The term that is to end."""
    ends_at: float
    """When to say that it failed, if nobody is seen to lead."""


@attrs.define(eq=False)
class Work:
    """What the next `Ready` will hand out."""

    messages: list[AnyMessage] = attrs.field(factory=list)
    install: SnapshotMeta | None = None
    proposals: list[ProposalOutcome] = attrs.field(factory=list)
    reads: list[ReadOutcome] = attrs.field(factory=list)
    transfers: list[TransferOutcome] = attrs.field(factory=list)
    snapshots_to_send: list[SnapshotTransfer] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)


@attrs.define(eq=False, kw_only=True)
class Core:
    """The state of one member (Figure 2)."""

    identity: Identity
    id: int = attrs.field(init=False, default=attrs.Factory(lambda self: self.identity.member_id, takes_self=True))
    """This member."""
    settings: RaftSettings
    chance: Random
    now: float

    term: int
    voted_for: int
    log: LogView
    commit_index: int
    applied_index: int
    """Up to here, committed entries were handed out to be applied."""
    role: Role
    durability: Durability
    hard_state_write: int = 0
    """Number of the write that makes term and vote durable."""

    heard_leader_at: float
    """When a leader of any term was last heard from."""
    hint: LeaderHint | None = None
    acquaintances: dict[int, Acquaintance] = attrs.field(factory=dict)
    met: set[int] = attrs.field(factory=set)
    """Peers that have found our opening in order."""
    is_trusted: bool = False
    """A majority has: this member may vote."""
    is_regressed: bool = False
    """A peer knows that this member has lost what it had durably."""
    openings_due: float
    """When to ask those again who have not answered our opening."""
    read_requests: ReadRequests
    """Reads that wait for a leader's answer, while another leads or none."""
    transfer_wish: TransferWish | None = None
    work: Work = attrs.field(factory=Work)
    trace: TraceSink | None = None
    """Hears of every change and message of the protocol, if there is one."""
    named: RuleSink | None = None
    """Hears by which rule things happen, if anybody listens; whoever traces does."""
    _traced_term: int = 0
    _quorum: tuple[Configuration, Quorum] | None = None
    _timer_slice: tuple[Configuration, tuple[float, float]] | None = None

    @property
    def boot(self) -> int:
        """This start's number."""
        return self.identity.boot

    @property
    def configuration(self) -> Configuration:
        """The members in force: the newest in the log, committed or not (4.1)."""
        return self.log.configuration

    @property
    def committed_configuration(self) -> Configuration:
        """The newest configuration that is known to be committed; one that came with a snapshot is."""
        return self.log.configuration_at(self.commit_index)

    @property
    def quorum(self) -> Quorum:
        """The voters in force."""
        configuration = self.log.configuration
        if self._quorum is None or self._quorum[0] is not configuration:
            self._quorum = configuration, Quorum.of(configuration)
        return self._quorum[1]

    @property
    def is_voter(self) -> bool:
        """Tell whether this member has a vote in the configuration in force."""
        return self.quorum.includes(self.id)

    @property
    def may_lead(self) -> bool:
        """Tell whether this member may campaign: it votes, or it did until a change that need not be committed.

        While it is not, nobody else need have a log as long, and then nobody could win without us (dissertation 4.2.2).
        """
        if self.is_voter:
            return True
        return self.log.configuration_index > self.commit_index and self.log.may_vote_after(self.commit_index, self.id)

    @property
    def peers(self) -> list[int]:
        """The other members, sorted."""
        return [member for member in self.configuration.member_ids if member != self.id]

    @property
    def audience(self) -> list[int]:
        """Whom a leader serves: its peers, and until a change is committed those that it removes.

        So they learn that they take part no more, and wait for no leader.
        """
        return sorted({*self.peers, *self.committed_configuration.member_ids} - {self.id})

    @property
    def other_voters(self) -> list[int]:
        """The other voters, sorted."""
        return [member for member in self.peers if self.quorum.includes(member)]

    @property
    def leader(self) -> int:
        """Who leads this term, as far as known; 0 otherwise."""
        role = self.role
        if isinstance(role, Leader):
            return self.id
        return role.leader if isinstance(role, Follower) else 0

    @property
    def fresh_hint(self) -> int:
        """The leader that is known to have stopped; 0 without such a hint."""
        return self.hint.leader if self.hint is not None and self.now < self.hint.expires_at else 0

    def draw_election_timeout(self) -> float:
        """Return a moment between T and 2T from now (5.2), the sooner the higher our priority."""
        configuration = self.log.configuration
        if self._timer_slice is None or self._timer_slice[0] is not configuration:
            self._timer_slice = configuration, timer_slice(configuration, self.id)
        start, width = self._timer_slice[1]
        return self.now + self.settings.election_seconds * (1 + start + width * self.chance.random())

    def draw_retry(self) -> float:
        """Return a moment soon from now, to ask again after an election that nobody could win: sooner with a hint."""
        if self.fresh_hint:
            return self.now + self.chance.uniform(*self.settings.hint_retry_seconds)
        return self.now + self.settings.heartbeat_seconds * self.chance.uniform(1.0, 2.0)

    def draw_hint_spread(self) -> float:
        """Return a delay that keeps members apart that would otherwise campaign at the same moment."""
        return self.chance.random() * self.settings.hint_spread_seconds

    def next_heartbeat(self) -> float:
        """Return when heartbeats are due next: at multiples of their interval, for all groups of a process alike.

        So what they say leaves in one turn of its loop, in one piece for each host.
        """
        interval = self.settings.heartbeat_seconds
        return interval * floor(self.now / interval + 1.01)  # Rounding must not make it due at once, again and again.

    # Term, vote and role.

    def enter_term(self, term: int) -> None:
        """Somebody is in a later term: follow there (5.1). Only a leader gets a new timer; others wait on."""
        assert term > self.term, "terms only rise"
        deadline = self.draw_election_timeout() if isinstance(self.role, Leader) else self.role.deadline
        self.set_hard_state(term, voted_for=0)
        self.become(Follower(deadline=deadline))

    def set_hard_state(self, term: int, voted_for: int) -> None:
        """Change term and vote; they are durable with the next write."""
        assert term > self.term or (term == self.term and self.voted_for in {0, voted_for}), "one vote per term"
        self.term, self.voted_for = term, voted_for
        self.hard_state_write = self.durability.handed_out + 1

    @property
    def hard_state(self) -> HardState:
        """Term and vote."""
        return HardState(term=self.term, voted_for=self.voted_for)

    def become(self, role: Role) -> None:
        """Change the role."""
        old = self.role
        assert type(role) in ROLE_CHANGES[type(old)], f"{old} cannot become {role}"
        if isinstance(old, Leader):
            self._leave_leadership(old)
        self.role = role
        if self.trace is not None and type(role) in BECOMES:
            if type(role) is not type(old) or self.term > self._traced_term:
                self.trace(picture(self, BECOMES[type(role)]))
            self._traced_term = self.term

    def step_down(self, reason: str, section: str, case: str) -> None:
        """Stop leading, in the same term."""
        self.note(f"steps down in term {self.term}: {reason}")
        self.because(Rule.STEPS_DOWN, term=self.term, why=reason, section=section, case=case)
        self.become(Follower(deadline=self.draw_election_timeout()))

    def lose_leader(self, deadline: float) -> None:
        """Nobody was heard from for too long, and this member cannot campaign now."""
        if not (isinstance(self.role, Follower) and self.role.leader == 0):
            self.become(Follower(deadline=deadline))
        self.role.deadline = deadline

    def _leave_leadership(self, role: Leader) -> None:
        for read in role.reads.take_all():
            if read.member == self.id:
                self.because(Rule.READS_LEFT_OVER)
                self.read_requests.add(read)  # Others ask again by themselves.
        for peer, progress in role.progress.items():
            self.acquaintance(peer).hear_acknowledged(role.term, progress.match_index, self.commit_index)

    # The log.

    def append(self, entry: Entry) -> None:
        """Add an entry at the end, our own as leader or one of the leader's."""
        self.log.append(entry)
        if self.named is None:
            return
        changes = entry.kind is EntryKind.CONFIGURATION
        if self.trace is not None and isinstance(self.role, Leader):
            self.trace(picture(self, "ChangeConf" if changes else "Replicate"))
        if changes:
            trace_configuration(self)

    def truncate(self, last_index: int) -> None:
        """Forget conflicting entries (5.3)."""
        assert last_index >= self.commit_index, "what is committed stays"
        before = self.log.configuration
        self.because(Rule.CONFLICT_CUT, first=last_index + 1, last=self.log.last_index)
        self.log.truncate(last_index)
        if self.durability.forget_after(last_index):
            self.because(Rule.CUT_UNDER_WAY, index=last_index)
        if self.log.configuration is not before:
            self.because(Rule.CHANGE_UNDONE)
            trace_configuration(self)

    def replace_log(self, snapshot: SnapshotMeta) -> None:
        """Let a leader's snapshot stand for everything (section 7)."""
        self.durability.forget_after(self.commit_index)  # Older writes prove only what the snapshot contains.
        self.log.replace(snapshot)
        self.commit_index = self.applied_index = snapshot.index
        trace_configuration(self)

    def commit_to(self, index: int) -> None:
        """Learn that entries are committed."""
        assert index <= self.log.last_index
        if index > self.commit_index:
            before, self.commit_index = self.commit_index, index
            if self.named is not None:
                self._tell_commit(before)

    def _tell_commit(self, before: int) -> None:
        index = self.commit_index
        if not isinstance(self.role, Leader):
            self.because(Rule.LEARNS_COMMIT, index=index)
            return
        if self.trace is not None:
            self.trace(picture(self, "Commit"))
        along = self.log.term_at(before + 1) != self.term
        of_term, case = self.log.term_at(index), "EARLIER_TERMS_TOO" if along else "OWN_TERM"
        self.because(Rule.COMMITS, index=index, of_term=of_term, term=self.term, case=case)
        if index > self.durability.durable_index:
            self.because(Rule.COMMITS_BEFORE_DISK, index=index)

    # Messages in and out.

    def receive(self, message: AnyMessage) -> None:
        """A message counts: it is whole, and none of an earlier boot."""
        if self.trace is not None:
            trace_message(self, "Receive", message)

    @property
    def has_unwritten(self) -> bool:
        """Tell whether the next `Ready` will hold a write."""
        return (
            self.log.has_unwritten
            or self.work.install is not None
            or self.hard_state_write > self.durability.handed_out
        )

    def send(self, message: AnyMessage) -> None:
        """Let a message leave once the term that it tells is durable: at once, nearly always."""
        self._send_after(self.hard_state_write, message)

    def send_when_written(self, message: AnyMessage) -> None:
        """Let a message leave once all that happened so far is durable."""
        self._send_after(self.durability.handed_out + self.has_unwritten, message)

    def _send_after(self, write: int, message: AnyMessage) -> None:
        if self.trace is not None:
            trace_message(self, "Send", message)
        if write <= self.durability.written:
            self.work.messages.append(message)
        else:
            self.durability.hold(write, message)

    def because(self, rule: NamedRule, **facts: object) -> None:
        """Name the rule by which something happens, for whoever listens. What happens often asks first."""
        if self.named is not None:
            self.named(rule, facts)

    def note(self, sentence: str) -> None:
        """Tell the operator."""
        self.work.notes.append(sentence)

    def drop(self, message: AnyMessage, reason: str, rule: Rule = Rule.DROPPED) -> None:
        """A peer's bytes never stop us."""
        kind = type(message).__name__
        self.note(f"dropped {kind} from {message.sender} in term {message.term}: {reason}")
        self.because(rule, what=kind, sender=message.sender, term=message.term, why=reason, case=kind)

    # Peers.

    def acquaintance(self, peer: int) -> Acquaintance:
        """Return what is remembered of a peer."""
        return self.acquaintances.setdefault(peer, Acquaintance())

    @property
    def may_vote(self) -> bool:
        """Tell whether our memory is known to be whole: nothing was lost that somebody counts on."""
        if not self.is_trusted and self.quorum.is_met_by(self.met | {self.id}):
            self.is_trusted = True
            self.because(Rule.IS_TRUSTED)
        return self.is_trusted and not self.is_regressed
