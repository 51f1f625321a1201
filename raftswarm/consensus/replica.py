"""A replica: member, storage and state machine in one synchronous piece.

The one big idea: everything between "events wait" and "work is handed out" is plain code without trio. The trio driver
(`driver`) and the simulated core world (`lab`) both call `turn`, so what is simulated is what ships.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs
import msgspec

from raftswarm.errors import (
    InvalidSpec,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PayloadTooLarge,
    RaftSwarmError,
    Rejected,
)
from raftswarm.raft.events import (
    Event,
    Propose,
    ProposeConfiguration,
    ReadBarrier,
    Receive,
    SnapshotSaved,
    TimePassed,
    Transition,
    Written,
)
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, SnapshotMeta
from raftswarm.raft.member import Member
from raftswarm.raft.membership import why_not_target
from raftswarm.raft.messages import AnyMessage, InstallSnapshot
from raftswarm.raft.ready import Leadership, ProposalOutcome, ReadOutcome, Ready, SnapshotTransfer, Write
from raftswarm.raft.state_machine import Context, StateMachine
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_COMMAND_BYTES, decode_batch, encode_batch
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner

MAX_WRITES_IN_FLIGHT = 2
MAX_WAITING_COMMANDS = 65_536
MAX_WAITING_EVENTS = 65_536
MARK_AFTER_SECONDS = 0.05
"""An idle log gets a mark record after this long, so that `durable_upto` covers its last acknowledged byte."""


_Job = Callable[[], object]
_Then = Callable[[], object]


class Waiter(Protocol):
    """Whoever waits for an outcome; told exactly once."""

    def complete(self, result: object) -> None:
        """Succeed with the state machine's result, the configuration's index or the read index."""
        ...

    def fail(self, error: RaftSwarmError) -> None:
        """Fail: nothing happened, or the outcome is unknown, as the error's type says."""
        ...


class Surroundings(Protocol):
    """What a replica asks of the world around it. None of it blocks."""

    def post(self, message: AnyMessage) -> None:
        """Send, or lose, a message."""
        ...

    def send_snapshot(self, transfer: SnapshotTransfer) -> None:
        """Stream the newest snapshot to a peer, then offer `SnapshotSent`."""
        ...

    def leadership_changed(self, leadership: Leadership) -> None:
        """Tell whoever watches. `is_leader` only once everything before this term is applied here (SWARM 12.5)."""
        ...

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Dial the members in force. Hang up on others only when that is committed: they are to hear of it."""
        ...

    def note(self, sentence: str) -> None:
        """Log what the core has to say."""
        ...

    def wake(self) -> None:
        """Call `turn` soon: something waits."""
        ...

    def failed(self, error: BaseException) -> None:
        """The disk or the state machine failed: stop this member, write nothing more."""
        ...


@attrs.frozen(kw_only=True)
class CompactionPolicy:
    """When to take a snapshot, and what to keep behind it."""

    snapshot_every_commands: int = 10_000
    snapshot_every_bytes: int = 64 * 1024 * 1024
    keep_entries: int = 500
    """LogEntriesForSlowFollowers."""


@attrs.frozen
class _Appended:
    """Proposals that are in the log and wait to be committed."""

    index: int
    term: int
    waiters: Sequence[Waiter]


@attrs.define(eq=False)
class _Applied:
    """How far the state machine is, and what a snapshot of it would say."""

    snapshot: SnapshotMeta
    bytes_since_snapshot: int = 0
    commands_at_snapshot: int = 0

    def advance(self, entry: Entry) -> None:
        configuration = self.snapshot.configuration
        if entry.kind is EntryKind.CONFIGURATION:
            configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        self.snapshot = SnapshotMeta(
            index=entry.index,
            term=entry.term,
            commands=entry.first_command + entry.command_count - 1,
            time_ns=entry.time_ns,
            configuration=configuration,
        )
        self.bytes_since_snapshot += len(entry.data)

    def is_snapshot_due(self, policy: CompactionPolicy) -> bool:
        commands = self.snapshot.commands - self.commands_at_snapshot
        return commands >= policy.snapshot_every_commands or self.bytes_since_snapshot >= policy.snapshot_every_bytes

    def snapshot_begins(self) -> None:
        self.bytes_since_snapshot = 0
        self.commands_at_snapshot = self.snapshot.commands


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
        self._machine = machine
        self._surroundings = surroundings
        self._wall_clock = wall_clock
        self._compaction = compaction

        self._events: deque[Event] = deque()
        self._commands: deque[tuple[bytes, Waiter]] = deque()
        self._next_token = 1
        self._asked: dict[int, Sequence[Waiter]] = {}
        """Waiters of proposals and reads that the member has not answered yet, by token."""
        self._appended: deque[_Appended] = deque()
        self._reads: deque[tuple[int, Waiter]] = deque()
        """Reads that wait for their index to be applied; indexes never fall."""

        self._applied = _Applied(snapshot, commands_at_snapshot=snapshot.commands)
        self._to_apply: deque[Entry] = deque()
        self._installing = False
        self._saving_snapshot = False
        self._received_snapshot: SnapshotMeta | None = None
        self._writes_in_flight = 0
        self._mark_due = float("inf")
        self._leadership = Leadership(term=0, leader=0, is_leader=False)
        self._announced = self._leadership
        self._configurations: tuple[Configuration | None, Configuration | None] = (None, None)
        self._stopped = False

    @property
    def member(self) -> Member:
        """To look at; only `turn` steps it."""
        return self._member

    @property
    def applied(self) -> SnapshotMeta:
        """How far the state machine is."""
        return self._applied.snapshot

    # Things to come in. None of these works at once: `turn` does.

    def offer(self, event: Event) -> None:
        """Queue an event (a message, a link's news, a completion) for the next turn."""
        if self._stopped:
            return
        if isinstance(event, Receive):
            if len(self._events) >= MAX_WAITING_EVENTS:
                return  # A lost message, as far as the sender can tell; Raft bears it.
            message = event.message
            if isinstance(message, InstallSnapshot) and message.snapshot != self._received_snapshot:
                self._surroundings.note(f"ignored a snapshot from {message.sender} whose data never arrived")
                return
        self._events.append(event)
        self._surroundings.wake()

    def propose(self, command: bytes, waiter: Waiter) -> None:
        """Queue a command; what waits when the turn comes travels as one batch."""
        if self._stopped:
            waiter.fail(NotLeader("this member has stopped"))
        elif len(command) > MAX_COMMAND_BYTES:
            waiter.fail(PayloadTooLarge(f"a command of {len(command)} bytes; the most is {MAX_COMMAND_BYTES}"))
        elif len(self._commands) >= MAX_WAITING_COMMANDS:
            waiter.fail(Overloaded(f"{MAX_WAITING_COMMANDS} commands wait already; retry later"))
        else:
            self._commands.append((command, waiter))
            self._surroundings.wake()

    def change_configuration(
        self, configuration: Configuration, waiter: Waiter, transition: Transition = Transition.AUTO
    ) -> None:
        """Queue a change of the members; the waiter completes when its first step is committed, joint or not."""
        if refused := why_not_target(configuration):
            waiter.fail(InvalidSpec(refused))
            return
        token = self._expect([waiter])
        self.offer(ProposeConfiguration(token, configuration, self._wall_clock.now_ns(), transition))

    def read_barrier(self, waiter: Waiter) -> None:
        """Complete when a local read is linearizable."""
        self.offer(ReadBarrier(self._expect([waiter])))

    def receive_snapshot(self, snapshot: SnapshotMeta, chunks: Iterable[bytes]) -> None:
        """Keep a snapshot that came over the bulk lane; the `InstallSnapshot` that follows refers to it."""

        def keep() -> None:
            self._storage.receive_snapshot(snapshot, chunks)

        self._received_snapshot = snapshot
        self._submit(keep)

    def shut_down(self) -> None:
        """Fail every waiter and take in nothing more."""
        if self._stopped:
            return
        self._stopped = True
        for _, waiter in self._commands:
            waiter.fail(NotLeader("this member is stopping"))
        self._commands.clear()
        self._fail_unfinished("this member is stopping")
        self._events.clear()

    # One turn.

    def turn(self, now: float) -> float:
        """Take in what waits, do the work, and return when to call again at the latest."""
        if self._stopped:
            return float("inf")
        while self._events:
            self._member.step(self._events.popleft(), now)
        if self._writes_in_flight < MAX_WRITES_IN_FLIGHT:
            self._propose_what_waits(now)
        self._member.step(TimePassed(), now)
        self._carry_out(self._member.take_ready(), now)
        if self._writes_in_flight:
            return self._member.next_deadline
        if now >= self._mark_due:
            self._mark_due = float("inf")
            self._submit(self._storage.mark)
        return min(self._member.next_deadline, self._mark_due)

    def _propose_what_waits(self, now: float) -> None:
        while self._commands:
            commands: list[bytes] = []
            waiters: list[Waiter] = []
            size = 0
            while self._commands and len(commands) < MAX_BATCH_COMMANDS:
                command, waiter = self._commands[0]
                if commands and size + len(command) > MAX_BATCH_BYTES:
                    break
                size += len(command)
                commands.append(command)
                waiters.append(waiter)
                self._commands.popleft()
            token = self._expect(waiters)
            self._member.step(Propose(token, encode_batch(commands), self._wall_clock.now_ns()), now)

    def _carry_out(self, ready: Ready, now: float) -> None:
        for sentence in ready.notes:
            self._surroundings.note(sentence)
        for message in ready.messages:
            self._surroundings.post(message)
        if ready.install is not None:
            assert ready.write is not None, "an installed snapshot has its place among the writes"
            self._install(ready.install, ready.write)
        elif ready.write is not None:
            self._write(ready.write, now)
        for outcome in ready.proposals:
            self._proposal_answered(outcome)
        self._to_apply.extend(ready.committed)
        self._apply()
        for read in ready.reads:
            self._read_answered(read)
        for transfer in ready.snapshots_to_send:
            self._surroundings.send_snapshot(transfer)
        if ready.leadership is not None:
            self._leadership = ready.leadership
            self._fail_of_earlier_terms()
        self._announce()
        self._save_snapshot_if_due()

    # The disk.

    def _submit(self, job: _Job, then: _Then | None = None) -> None:
        def done(error: BaseException | None) -> None:
            if self._stopped:
                return
            if error is not None:
                self._fail(error)
            elif then is not None:
                then()

        self._runner.submit(job, done)

    def _write(self, write: Write, now: float) -> None:
        def written() -> None:
            self._writes_in_flight -= 1
            self.offer(Written(write.number, write.last_term, write.last_index))

        self._writes_in_flight += 1
        self._mark_due = now + MARK_AFTER_SECONDS
        self._submit(lambda: self._storage.write(write), written)

    def _install(self, snapshot: SnapshotMeta, write: Write) -> None:
        """Put a received snapshot in the place of log and state; what is committed waits until it is there."""
        chunks: list[bytes] = []

        def install() -> None:
            self._storage.install(snapshot)
            self._storage.write(write)
            newest = self._storage.read_snapshot()
            assert newest is not None, "a snapshot was just installed"
            assert newest[0] == snapshot, "the installed snapshot is the newest"
            chunks.extend(newest[1])

        def installed() -> None:
            self._writes_in_flight -= 1
            self._installing = False
            self._machine.restore(chunks)
            self._applied = _Applied(snapshot, commands_at_snapshot=snapshot.commands)
            self.offer(Written(write.number, write.last_term, write.last_index))

        self._writes_in_flight += 1
        self._installing = True
        self._to_apply.clear()
        self._submit(install, installed)

    def _save_snapshot_if_due(self) -> None:
        if self._saving_snapshot or self._installing or not self._applied.is_snapshot_due(self._compaction):
            return
        snapshot = self._applied.snapshot
        capture = self._machine.capture()
        keep = self._compaction.keep_entries

        def saved() -> None:
            self._saving_snapshot = False
            self.offer(SnapshotSaved(snapshot, keep))
            self._submit(lambda: self._storage.compact(snapshot.index - keep + 1))

        self._saving_snapshot = True
        self._applied.snapshot_begins()
        self._submit(lambda: self._storage.save_snapshot(snapshot, capture.chunks()), saved)

    # The state machine.

    def _apply(self) -> None:
        while self._to_apply and not self._installing and not self._stopped:
            entry = self._to_apply.popleft()
            waiters = self._waiters_of(entry)
            match entry.kind:
                case EntryKind.COMMANDS:
                    self._apply_commands(entry, waiters)
                case EntryKind.CONFIGURATION:
                    for waiter in waiters:
                        waiter.complete(entry.index)
                case EntryKind.BLANK:
                    pass
            if not self._stopped:
                self._applied.advance(entry)
                self._answer_reads()

    def _apply_commands(self, entry: Entry, waiters: Sequence[Waiter]) -> None:
        for position, command in enumerate(decode_batch(entry.command_count, entry.data)):
            number = entry.first_command + position
            context = Context(command_number=number, time_ns=entry.time_ns, index=entry.index, term=entry.term)
            try:
                result = self._machine.apply(command, context)
            except Rejected as rejected:
                if waiters:
                    waiters[position].fail(rejected)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, this state must not go on
                error.add_note(f"while applying command {number} (entry {entry.index}, term {entry.term})")
                for waiter in waiters[position:]:
                    waiter.fail(OutcomeUnknown(f"the state machine failed at command {number}"))
                self._fail(error)
                return
            if waiters:
                waiters[position].complete(result)

    def _waiters_of(self, entry: Entry) -> Sequence[Waiter]:
        """Return who proposed this entry here; those of entries that were replaced at their index learn that."""
        while self._appended and self._appended[0].index <= entry.index:
            appended = self._appended.popleft()
            if (appended.index, appended.term) == (entry.index, entry.term):
                return appended.waiters
            for waiter in appended.waiters:
                waiter.fail(OutcomeUnknown("another leader's entry took its place"))
        return ()

    # Answers.

    def _expect(self, waiters: Sequence[Waiter]) -> int:
        token = self._next_token
        self._next_token += 1
        self._asked[token] = waiters
        return token

    def _proposal_answered(self, outcome: ProposalOutcome) -> None:
        waiters = self._asked.pop(outcome.token)
        if outcome.refused:
            error = self._refusal(outcome)
            for waiter in waiters:
                waiter.fail(error)
        else:
            self._appended.append(_Appended(outcome.index, outcome.term, waiters))

    def _refusal(self, outcome: ProposalOutcome) -> RaftSwarmError:
        """Sent to the wrong member, or refused by the leader itself: too much in flight, a change at a bad moment."""
        if outcome.leader == self._member.id:
            return Overloaded(outcome.refused)
        return NotLeader(outcome.refused, outcome.leader or None)

    def _read_answered(self, outcome: ReadOutcome) -> None:
        for waiter in self._asked.pop(outcome.token):
            if outcome.refused:
                waiter.fail(NotLeader(outcome.refused, outcome.leader or None))
            else:
                self._reads.append((outcome.index, waiter))
        self._answer_reads()

    def _answer_reads(self) -> None:
        while self._reads and self._reads[0][0] <= self._applied.snapshot.index:
            index, waiter = self._reads.popleft()
            waiter.complete(index)

    def _fail_of_earlier_terms(self) -> None:
        """Answer proposals of a leadership that has ended: they may still be committed by the next leader."""
        while self._appended and not (self._leadership.is_leader and self._appended[0].term == self._leadership.term):
            for waiter in self._appended.popleft().waiters:
                waiter.fail(OutcomeUnknown("leadership was lost while it was being committed"))

    def _fail_unfinished(self, reason: str) -> None:
        for waiters in self._asked.values():
            for waiter in waiters:
                waiter.fail(OutcomeUnknown(reason))
        self._asked.clear()
        while self._appended:
            for waiter in self._appended.popleft().waiters:
                waiter.fail(OutcomeUnknown(reason))
        while self._reads:
            self._reads.popleft()[1].fail(NotLeader(reason))

    def _announce(self) -> None:
        """Tell of a new leader; of our own leadership only when everything before this term is applied here."""
        leadership = self._leadership
        if leadership.is_leader and self._applied.snapshot.term < leadership.term:
            leadership = attrs.evolve(leadership, is_leader=False)
        if leadership != self._announced:
            self._announced = leadership
            self._surroundings.leadership_changed(leadership)
        configurations = self._member.configuration, self._member.committed_configuration
        if any(now is not before for now, before in zip(configurations, self._configurations, strict=True)):
            self._configurations = configurations
            self._surroundings.configuration_changed(*configurations)

    def _fail(self, error: BaseException) -> None:
        self.shut_down()
        self._surroundings.failed(error)
