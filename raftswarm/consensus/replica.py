"""A replica: member, storage and state machine in one synchronous piece.

The one big idea: everything between "events wait" and "work is handed out" is plain code without trio. The trio driver
(`driver`) and the simulated core world (`lab`) both call `turn`, so what is simulated is what ships.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from raftswarm.consensus.applying import Applier
from raftswarm.consensus.compaction import CompactionPolicy, SnapshotSaver
from raftswarm.consensus.log_jobs import LogJobs
from raftswarm.consensus.pending_calls import PendingCalls, fail_all
from raftswarm.consensus.proposals import ProposalQueue, Proposals, Proposers, Waiter
from raftswarm.consensus.rules import ReplicaRule
from raftswarm.errors import (
    DiskFull,
    InvalidSpec,
    NotLeader,
    Overloaded,
    RaftSwarmError,
    StorageError,
    TransferFailed,
)
from raftswarm.raft.events import (
    Event,
    Propose,
    ProposeConfiguration,
    ReadBarrier,
    Receive,
    SnapshotSaved,
    SnapshotSent,
    TimePassed,
    TransferLeadership,
    Transition,
    Written,
)
from raftswarm.raft.log_entry import Configuration, SnapshotMeta
from raftswarm.raft.member import Member
from raftswarm.raft.membership import why_not_target
from raftswarm.raft.messages import AnyMessage, InstallSnapshot
from raftswarm.raft.ready import (
    Leadership,
    Ready,
    SnapshotTransfer,
    Write,
)
from raftswarm.raft.state_machine import Capture, StateMachine, machine_errors, prepare_restore
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.transport.snapshot_transfer import IncomingSnapshot, OutgoingSnapshot
from raftswarm.wire.batch import encode_batch
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner

__all__ = ["CompactionPolicy", "Replica", "Surroundings"]

MAX_WRITES_IN_FLIGHT = 2
MAX_WAITING_EVENTS = 65_536
GATHERING_SECONDS = 0.001
GATHERED_BYTES = 32 * 1024
MANY_IN_FLIGHT = 8
MARK_AFTER_SECONDS = 0.05
"""An idle log gets a mark record after this long, so that `durable_upto` covers its last acknowledged byte."""
BATCHES_AT_ONCE = 8
"""Entries that one turn makes of commands that wait."""
MAX_ENTRIES_TO_APPLY = 64
"""No new proposals are taken to the log while so many entries wait to be applied here."""


_TIME_PASSED = TimePassed()

_Job = Callable[[], object]
_Then = Callable[[], object]


class Surroundings(Protocol):
    """What a replica asks of the world around it. None of it blocks."""

    def post(self, message: AnyMessage) -> None:
        """Send, or lose, a message."""
        ...

    def send_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        """Stream it to a peer, then tell `snapshot_sent`."""
        ...

    def leadership_changed(self, leadership: Leadership) -> None:
        """Tell whoever watches. `is_leader` only once everything before this term is applied here (SWARM 12.5)."""
        ...

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Dial the members in force. Hang up on others only when that is committed: they are to hear of it."""
        ...

    def flush(self) -> None:
        """Let what was posted leave."""
        ...

    def note(self, sentence: str) -> None:
        """Log what the core has to say."""
        ...

    def wake(self) -> None:
        """Call `turn` soon: something waits."""
        ...

    def wake_last(self) -> None:
        """Call `turn` when everybody who was just answered has had a say."""
        ...

    def failed(self, error: BaseException) -> None:
        """The disk or the state machine failed: stop this member, write nothing more."""
        ...


class Replica:
    """Owns member, storage and state machine; nothing else calls `step`, `take_ready` or `apply`."""

    def __init__(
        self,
        *,
        member: Member,
        storage: MemberStorage,
        runner: DiskRunner,
        machine: StateMachine,
        surroundings: Surroundings,
        wall_clock: WallClock,
        compaction: CompactionPolicy,
        snapshot: SnapshotMeta,
    ) -> None:
        """`machine` has been restored from `snapshot`, the newest one on disk."""
        self._member = member
        self._storage = storage
        self._runner = runner
        self._surroundings = surroundings
        self._wall_clock = wall_clock
        self._compaction = compaction

        self._events: deque[Event] = deque()
        self._queue = ProposalQueue()
        self._waiting_reads: list[Waiter] = []
        """Reads since the last turn: one question serves them all."""
        self._pending = PendingCalls(member)

        self._saver = SnapshotSaver(
            compaction,
            storage,
            self._submit,
            newest=snapshot,
            saved=self._snapshot_saved,
            note=self._put_snapshot_off,
        )
        self._applier = Applier(machine, self._pending, self._saver, snapshot=snapshot, fail=self.fail)
        self._received_snapshot: SnapshotMeta | None = None
        self._broken_off: dict[int, OutgoingSnapshot] = {}
        """By peer: what may be gone on with. Its file stays readable as long as it is held."""
        self._log_jobs = LogJobs(self._submit, fail=self.fail, note=surroundings.note, wake=self._ask_for_turn)
        self._proposed_at = float("-inf")
        """When commands last went into the log."""
        self._gathers_until = float("inf")
        """When what waits goes into the log, however little it is."""
        self._mark_due = float("inf")
        self._leadership = Leadership(term=0, leader=0, is_leader=False)
        self._announced = self._leadership
        self._configurations: tuple[Configuration | None, Configuration | None] = (None, None)
        self._stopped = False
        self._turn_is_due = False
        """One was asked for and has not begun."""

    @property
    def member(self) -> Member:
        """To look at; only `turn` steps it."""
        return self._member

    @property
    def applied(self) -> SnapshotMeta:
        """How far the state machine is."""
        return self._applier.applied

    @property
    def waiting(self) -> int:
        """How many waiters have no answer yet."""
        return len(self._queue) + len(self._waiting_reads) + self._pending.count

    # Things to come in. None of these works at once: `turn` does.

    def offer(self, event: Event) -> None:
        """Queue an event (a message, a link's news, a completion) for the next turn."""
        if self._stopped:
            return
        if isinstance(event, Receive):
            if len(self._events) >= MAX_WAITING_EVENTS:
                return  # A lost message, as far as the sender can tell; Raft bears it.
            message = event.message
            if isinstance(message, InstallSnapshot) and self._lacks_data_of(message.snapshot):
                self._member.because(ReplicaRule.LACKS_SNAPSHOT, index=message.snapshot.index)
                self._surroundings.note(f"ignored a snapshot from {message.sender} whose data never arrived")
                return
        self._events.append(event)
        self._ask_for_turn()

    def _lacks_data_of(self, snapshot: SnapshotMeta) -> bool:
        """Tell whether it cannot be installed. What is committed here needs no data: the leader has to be told so."""
        return snapshot.index > self._member.commit_index and snapshot != self._received_snapshot

    def propose(self, command: bytes, waiter: Waiter) -> None:
        """Queue a command; what waits when the turn comes travels as one batch.

        While too much is uncommitted the queue fills up, and whoever proposes waits; only a full queue refuses.
        """
        if self._stopped:
            waiter.fail(NotLeader("this member has stopped"))
        else:
            self._queue.add(command, waiter)
            self._ask_for_turn()

    def propose_many(self, commands: Sequence[bytes], proposers: Proposers) -> None:
        """Queue commands, in order, for one caller that takes their results together; otherwise as `propose`."""
        if self._stopped:
            proposers.fail(0, len(commands), NotLeader("this member has stopped"))
        else:
            self._queue.add_run(commands, proposers)
            self._ask_for_turn()

    def change_configuration(
        self, configuration: Configuration, waiter: Waiter, transition: Transition = Transition.AUTO
    ) -> None:
        """Queue a change of the members; the waiter completes when its first step is committed, joint or not."""
        if refused := why_not_target(configuration):
            waiter.fail(InvalidSpec(refused))
        elif self._stopped:
            waiter.fail(NotLeader("this member has stopped"))
        else:
            token = self._pending.expect_proposals(Proposals.of_one(waiter))
            self.offer(ProposeConfiguration(token, configuration, self._wall_clock.now_ns(), transition))

    def read_barrier(self, waiter: Waiter) -> None:
        """Complete when a local read is linearizable, on any member; NotLeader if no leader answers in time."""
        if self._stopped:
            waiter.fail(NotLeader("this member has stopped"))
        elif len(self._waiting_reads) >= MAX_WAITING_EVENTS:
            waiter.fail(Overloaded(f"{MAX_WAITING_EVENTS} reads wait already; retry when some are answered"))
        else:
            self._waiting_reads.append(waiter)
            self._ask_for_turn()

    def transfer_leadership(self, to: int, waiter: Waiter) -> None:
        """Hand leadership over, to anybody if `to` is 0; completes when another leads, or fails with TransferFailed."""
        if self._stopped:
            waiter.fail(NotLeader("this member has stopped"))
        else:
            self.offer(TransferLeadership(to, self._pending.expect([waiter], TransferFailed)))

    def receive_snapshot(self) -> IncomingSnapshot:
        """Take in one that comes over the bulk lane; its frames are disk jobs. Ends with `snapshot_received`."""
        return IncomingSnapshot(self._storage)

    def capture(self) -> tuple[SnapshotMeta, Capture] | None:
        """Picture the state as it is, and say how far it is; None in the middle of an entry."""
        applier = self._applier
        return (applier.applied, applier.machine.capture()) if applier.may_save else None

    def snapshot_received(self, snapshot: SnapshotMeta) -> None:
        """A snapshot's data is here, durably: the `InstallSnapshot` that follows refers to it."""
        self._received_snapshot = snapshot

    def snapshot_sent(self, to: int, outgoing: OutgoingSnapshot) -> None:
        """A stream has ended, because all of it arrived or before that."""
        can_go_on = not outgoing.arrived and self._leadership.is_leader
        if can_go_on:
            self._broken_off[to] = outgoing
        self.offer(SnapshotSent(to, outgoing.offer.snapshot.index, outgoing.arrived, can_go_on))

    def fail(self, error: BaseException) -> None:
        """Stop this member: its own state is in doubt."""
        self.shut_down()
        self._surroundings.failed(error)

    @property
    def has_stopped(self) -> bool:
        """Tell whether it has failed its waiters and takes in nothing more."""
        return self._stopped

    def require_leading(self) -> None:
        """NotLeader, with whom to ask, unless this member leads."""
        if not self._leadership.is_leader:
            raise self._pending.not_leader("this member does not lead", self._member.leader)

    def _ask_for_turn(self) -> None:
        """Ask once, however much comes until then."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._surroundings.wake()

    def shut_down(self) -> None:
        """Fail every waiter and take in nothing more."""
        if self._stopped:
            return
        if waiting := self.waiting:
            self._member.because(ReplicaRule.STOPS_WITH_CALLS, count=waiting)
        self._stopped = True
        stopping = NotLeader("this member is stopping")
        self._queue.fail_all(stopping)
        reads, self._waiting_reads = self._waiting_reads, []
        fail_all(reads, stopping)
        self._applier.stop()
        self._pending.lose_all("this member is stopping")
        self._events.clear()

    # One turn.

    def turn(self, now: float) -> float:
        """Take in what waits, do the work, and return when to call again at the latest."""
        self._turn_is_due = False
        if self._stopped:
            return float("inf")
        self._take_in_events(now)
        if self._waiting_reads:
            reads, self._waiting_reads = self._waiting_reads, []
            self._member.step(ReadBarrier(self._pending.expect(reads, NotLeader)), now)
        self._member.step(_TIME_PASSED, now)
        self._gathers_until = float("inf")
        if self._log_jobs.full is not None:
            self._refuse_proposals(self._log_jobs.full)
        is_backed_up = bool(self._queue) and self._may_propose(now) and self._propose_what_waits(now)
        self._carry_out(self._member.take_ready(), now)
        if self._applier.is_behind or is_backed_up:
            self._surroundings.wake()
        elif self._member.has_news:
            self._surroundings.wake_last()
        deadline = self._member.next_deadline
        deadline = min(deadline, self._gathers_until)
        if self._applier.may_save:
            self._applier.save_if_due(now)
            deadline = min(deadline, self._saver.due_at(self._applier.applied))
        if self._log_jobs.count:
            return min(deadline, self._log_jobs.try_again(now))
        if now >= self._mark_due:
            self._mark_due = float("inf")
            self._submit(self._storage.mark)
        return min(deadline, self._mark_due)

    def _may_propose(self, now: float) -> bool:
        if self._log_jobs.count >= MAX_WRITES_IN_FLIGHT or len(self._applier.waiting) >= MAX_ENTRIES_TO_APPLY:
            return False
        # A batch costs the same however small it is: what waits gathers until the last one is answered, for a moment.
        until = self._proposed_at + GATHERING_SECONDS
        if now >= until or self._queue.size >= GATHERED_BYTES:
            return True
        if MANY_IN_FLIGHT <= self._pending.in_flight >= len(self._queue):
            self._gathers_until = until
            return False
        return True

    def _take_in_events(self, now: float) -> None:
        was_saved = False
        while self._events:
            event = self._events.popleft()
            self._member.step(event, now)
            was_saved = was_saved or isinstance(event, SnapshotSaved)
        if was_saved:
            first_index = self._member.first_index
            self._submit(lambda: self._storage.compact(first_index), otherwise=self._could_not_compact)

    def _could_not_compact(self, error: StorageError) -> None:
        """What was not removed counts for nothing, and the next start removes it."""
        if isinstance(error, DiskFull):
            self._surroundings.note(str(error))
        else:
            self.fail(error)

    def _propose_what_waits(self, now: float) -> bool:
        """Make entries of what waits, as many as one turn may; True if there is more to do at once."""
        for _ in range(BATCHES_AT_ONCE):
            proposals = self._queue.take_batch(self._member.proposal_room)
            if not proposals.commands:
                # Nothing waits; or the tail is full, and what is committed makes room; or leadership is handed over.
                return False
            self._proposed_at = now
            token = self._pending.expect_proposals(proposals)
            self._member.step(Propose(token, encode_batch(proposals.commands), self._wall_clock.now_ns()), now)
        return True

    def _carry_out(self, ready: Ready, now: float) -> None:
        for sentence in ready.notes:
            self._surroundings.note(sentence)
        for message in ready.messages:
            self._surroundings.post(message)
        self._surroundings.flush()
        if ready.install is not None:
            assert ready.write is not None, "an installed snapshot has its place among the writes"
            self._install(ready.install, ready.write)
        elif ready.write is not None:
            self._write(ready.write, now)
        for outcome in ready.proposals:
            self._pending.answer_proposal(outcome)
        self._applier.waiting.extend(ready.committed)
        self._applier.apply(now)
        for read in ready.reads:
            self._pending.answer_read(read)
        self._pending.complete_reads(self._applier.applied.index)
        for ended in ready.transfers:
            self._pending.answer_transfer(ended)
        for transfer in ready.snapshots_to_send:
            self._send_snapshot(transfer)
        if ready.leadership is not None:
            self._leadership = ready.leadership
            self._pending.lose_earlier_terms(ready.leadership)
            if not ready.leadership.is_leader:
                self._broken_off.clear()
        self._announce()

    # The disk.

    def _submit(
        self, job: _Job, then: _Then | None = None, otherwise: Callable[[StorageError], object] | None = None
    ) -> None:
        def done(error: BaseException | None) -> None:
            if self._stopped:
                return
            if error is None:
                if then is not None:
                    then()
            elif otherwise is not None and isinstance(error, StorageError):
                otherwise(error)
            else:
                self.fail(error)

        self._runner.submit(job, done)

    def _write(self, write: Write, now: float) -> None:
        self._mark_due = now + MARK_AFTER_SECONDS
        written = Written(write.number, write.last_term, write.last_index)
        self._log_jobs.add(lambda: self._storage.write(write), lambda: self.offer(written))

    def _refuse_proposals(self, full: DiskFull) -> None:
        """Whoever asks is told at once: it may be long until there is room."""
        if self._leadership.is_leader:
            self._queue.fail_all(Overloaded(f"nothing can be written here now: {full}"))
        else:
            self._queue.fail_all(self._pending.not_leader("this member does not lead", self._member.leader))

    def _install(self, snapshot: SnapshotMeta, write: Write) -> None:
        """Put a received snapshot in the place of log and state; what is committed waits until it is there."""
        restore: list[Callable[[], object]] = []
        when = f"while restoring the snapshot up to entry {snapshot.index}"

        is_installed = False

        def install() -> None:
            nonlocal is_installed
            if not is_installed:  # A full disk may have had room for that, and no more.
                self._storage.install(snapshot)
                is_installed = True
            self._storage.write(write)
            newest = self._storage.read_snapshot()
            assert newest is not None, "a snapshot was just installed"
            assert newest[0] == snapshot, "the installed snapshot is the newest"
            with machine_errors(when):
                restore.append(prepare_restore(self._applier.machine, newest[1]))

        def installed() -> None:
            try:
                with machine_errors(when):
                    restore[0]()
            except RaftSwarmError as failure:
                self.fail(failure)
                return
            self._member.because(ReplicaRule.INSTALLED, index=snapshot.index)
            if not self._applier.installed(snapshot):
                self._member.because(ReplicaRule.INSTALLED_ONE_OF_TWO, index=snapshot.index)
            self.offer(Written(write.number, write.last_term, write.last_index))

        if self._applier.make_way(snapshot):
            self._member.because(ReplicaRule.STOPS_APPLYING)
        self._log_jobs.add(install, installed)

    def _snapshot_saved(self, snapshot: SnapshotMeta) -> None:
        policy = self._compaction
        self.offer(
            SnapshotSaved(
                snapshot, policy.keep_entries, policy.keep_entries_bytes, keep_bytes=policy.keep_bytes_for_followers
            )
        )

    def _put_snapshot_off(self, why: str) -> None:
        self._member.because(ReplicaRule.SNAPSHOT_PUT_OFF)
        self._surroundings.note(why)

    def _send_snapshot(self, transfer: SnapshotTransfer) -> None:
        """Go on with what broke off, or open the newest; which is not what was asked for if one was just saved."""
        opened: list[OutgoingSnapshot] = []

        def open_newest() -> None:
            newest = self._storage.open_snapshot()
            if newest is not None:
                opened.append(OutgoingSnapshot(*newest))

        def send() -> None:
            if opened and opened[0].offer.snapshot == transfer.snapshot:
                self._surroundings.send_snapshot(transfer.to, opened[0])
            else:
                self._member.because(ReplicaRule.ANOTHER_SNAPSHOT_SAVED, peer=transfer.to)
                self.offer(SnapshotSent(transfer.to, transfer.snapshot.index, delivered=False))

        broken_off = self._broken_off.pop(transfer.to, None)
        if broken_off is not None and broken_off.offer.snapshot == transfer.snapshot:
            self._member.because(ReplicaRule.SNAPSHOT_SENT_ON, peer=transfer.to)
            self._surroundings.send_snapshot(transfer.to, broken_off)
        else:
            self._submit(open_newest, send)

    # News.

    def _announce(self) -> None:
        """Tell of a new leader; of our own leadership only when everything before this term is applied here."""
        leadership = self._leadership
        if leadership is not self._announced:
            if leadership.is_leader and self._applier.applied.term < leadership.term:
                self._member.because(ReplicaRule.LEADS_AFTER_APPLYING, term=leadership.term)
                leadership = attrs.evolve(leadership, is_leader=False)
            if leadership != self._announced:
                self._announced = leadership
                self._surroundings.leadership_changed(leadership)
        configuration, committed = self._member.configuration, self._member.committed_configuration
        before = self._configurations
        if configuration is not before[0] or committed is not before[1]:
            self._configurations = configuration, committed
            self._surroundings.configuration_changed(configuration, committed)
