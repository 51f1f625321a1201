"""A replica with a member, a disk and callers that a test commands, and a look at each state and each answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

import attrs

from property_tests.any_member import ME, REFUSAL, AnyMember
from raftswarm.consensus.replica import CompactionPolicy, Replica
from raftswarm.errors import DiskFull, NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError, Rejected
from raftswarm.raft.log_entry import Configuration, EntryKind, SnapshotMeta
from raftswarm.raft.member import Member
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.ready import Leadership, Write
from raftswarm.raft.state_machine import Context
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.snapshots import Saving
from raftswarm.transport.snapshot_transfer import OutgoingSnapshot

POLICY: Final = CompactionPolicy(snapshot_every_commands=5, keep_entries=3)
MISSING: Final = object()

Job = Callable[[], object]
Done = Callable[[BaseException | None], None]


@attrs.frozen
class Picture:
    state: bytes

    def chunks(self) -> Iterator[bytes]:
        for place in range(len(self.state)):
            yield self.state[place : place + 1]


class Checked:
    """A machine that knows what comes next; its state is how many commands it has accepted."""

    def __init__(self, member: AnyMember) -> None:
        self._member = member
        self.accepted = 0

    def apply(self, command: bytes, context: Context) -> int:
        number = context.command_number
        assert self._member.commands[number - 1 : number] == [(command, context)], (
            "applied what was not committed there"
        )
        assert self.accepted == self._member.accepted[number - 1], "applied twice, or not in order"
        if command.startswith(REFUSAL):
            raise Rejected("as it was asked to")
        self.accepted += 1
        return self.accepted

    def capture(self) -> Picture:
        return Picture(b"%d" % self.accepted)

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.accepted = int(b"".join(chunks))


@attrs.define(eq=False)
class SmallDisk(MemberStorage):
    """Holds snapshots, and is full at times; what it refused comes before anything else."""

    has_room: bool = True
    newest: tuple[SnapshotMeta, bytes] = (SnapshotMeta(), b"0")
    received: dict[int, tuple[SnapshotMeta, bytes]] = attrs.field(factory=dict)
    saved: list[tuple[SnapshotMeta, bytes]] = attrs.field(factory=list)
    written: list[bytes] = attrs.field(factory=list)
    """Of the snapshot that is being saved."""
    refused: object = None

    def write(self, write: Write) -> None:
        self._use_log(write)

    def install(self, snapshot: SnapshotMeta) -> None:
        self._use_log(snapshot)
        self.newest = self.received[snapshot.index]

    def read_snapshot(self) -> tuple[SnapshotMeta, Iterator[bytes]]:
        meta, state = self.newest
        return meta, iter([state])

    def save_slice(self, saving: Saving) -> bool:
        if not self.has_room:
            self.written.clear()
            raise DiskFull("no room for a snapshot")
        piece = next(saving.chunks, None)
        if piece is not None:
            self.written.append(piece)
            return False
        saved = saving.meta, b"".join(self.written)
        self.written.clear()
        self.saved.append(saved)
        if saving.meta.index >= self.newest[0].index:
            self.newest = saved
        return True

    def compact(self, first_index: int) -> None:
        del first_index
        if not self.has_room:
            raise DiskFull("no room to compact")

    def mark(self) -> None:
        """Without room it is left out."""

    def _use_log(self, what: object) -> None:
        if not self.has_room and self.refused is None:
            self.refused = what
        if self.refused is not None and (self.refused is not what or not self.has_room):
            raise DiskFull("no room for the log")
        self.refused = None


@attrs.define(eq=False)
class Caller:
    """Waits for one outcome, and has the bench look at it."""

    look: Callable[[Caller, object], None]
    command: bytes = b""
    asked_at: int = 0
    """What was committed when a read was asked for."""
    outcome: object = MISSING

    def complete(self, result: object) -> None:
        self._take(result)

    def fail(self, error: RaftSwarmError) -> None:
        self._take(error)

    def _take(self, outcome: object) -> None:
        assert self.outcome is MISSING, "told twice"
        self.outcome = outcome
        self.look(self, outcome)


@attrs.frozen
class Together:
    """Callers whose commands are proposed in one call."""

    callers: Sequence[Caller]

    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        for place, result in enumerate(results):
            self.callers[first + place].complete(failed.get(place, result))

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        for caller in self.callers[first : first + count]:
            caller.fail(error)


class World:
    """A replica, its callers, and all that surrounds it."""

    def __init__(self) -> None:
        self.now = 1.0
        self.member = AnyMember()
        self.disk = SmallDisk()
        self.callers: list[Caller] = []
        self.is_stopping = False
        self.installed_up_to = 0
        """By a snapshot that was to take the place of what this replica would have applied."""
        self.start()

    def start(self) -> None:
        snapshot, state = self.disk.newest
        self.jobs: deque[tuple[Job, Done]] = deque()
        self.machine = Checked(self.member)
        self.machine.restore([state])
        self.replica = Replica(
            member=cast("Member", self.member),
            storage=self.disk,
            runner=self,
            machine=self.machine,
            surroundings=self,
            wall_clock=self,
            compaction=POLICY,
            snapshot=snapshot,
        )

    def stop(self) -> None:
        self.is_stopping = True
        self.replica.shut_down()
        assert not self.waiting, "a stopped replica leaves nobody waiting"
        self.is_stopping = False

    @property
    def waiting(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.outcome is MISSING]

    # The disk's runner, the wall clock and the surroundings.

    def submit(self, job: Job, done: Done) -> None:
        self.jobs.append((job, done))

    def run_jobs(self, most: int) -> None:
        for _ in range(min(most, len(self.jobs))):
            job, done = self.jobs.popleft()
            try:
                job()
            except RaftSwarmError as error:
                done(error)
            else:
                done(None)

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def post(self, message: AnyMessage) -> None:
        raise AssertionError(f"this member says nothing, and no {message}")

    def send_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        raise AssertionError(f"{to} asked for no snapshot, and not for {outgoing}")

    def leadership_changed(self, leadership: Leadership) -> None:
        if leadership.is_leader:
            earlier = [entry.index for entry in self.member.log if entry.term < leadership.term]
            assert self.replica.applied.index >= max(earlier, default=0), "leads before it has caught up"

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Nobody dials."""

    def flush(self) -> None:
        """Nothing waits."""

    def note(self, sentence: str) -> None:
        """Nobody reads."""

    def wake(self) -> None:
        """Turns come when they come."""

    def wake_last(self) -> None:
        """Likewise."""

    def failed(self, error: BaseException) -> None:
        raise error

    # What is looked at.

    def turn(self) -> None:
        self.now += 0.01
        self.replica.turn(self.now)
        self.check_state()

    def check_state(self) -> None:
        if (captured := self.replica.capture()) is not None:
            meta, capture = captured
            self._check_snapshot(meta, b"".join(capture.chunks()))
        for meta, state in self.disk.saved:
            self._check_snapshot(meta, state)
        self.disk.saved.clear()

    def _check_snapshot(self, meta: SnapshotMeta, state: bytes) -> None:
        assert meta == self.member.describe(meta.index)
        assert state == self.member.fold(meta.index), f"entry {meta.index} is not where this state is"

    def look_at_write(self, caller: Caller, outcome: object) -> None:
        member, command = self.member, caller.command
        number = member.numbers.get(command)
        match outcome:
            case Rejected():
                assert number is not None
                assert command.startswith(REFUSAL)
            case OutcomeUnknown():
                self._check_unknown(command)
            case RaftSwarmError():
                assert isinstance(outcome, NotLeader | Overloaded)
                assert command not in member.appended, "it may be committed, whatever its caller was told"
            case _:
                assert number is not None, "a command that was never committed has a result"
                assert outcome == member.accepted[number], "another command's result"
                assert not command.startswith(REFUSAL)

    def _check_unknown(self, command: bytes) -> None:
        member, entry = self.member, self.member.appended[command]
        assert self.is_stopping or (member.term, member.leader) != (entry.term, ME), "its leader still leads"
        is_known = command in member.numbers and entry.index <= member.commit_index
        assert self.is_stopping or not is_known or entry.index <= self.installed_up_to, "it was committed here"

    def look_at_read(self, caller: Caller, outcome: object) -> None:
        if isinstance(outcome, int):
            assert outcome >= caller.asked_at
            assert self.replica.applied.index >= outcome, "the state is behind what the read was promised"
        else:
            assert isinstance(outcome, NotLeader | Overloaded)

    def look_at_change(self, caller: Caller, outcome: object) -> None:
        assert not caller.command
        if isinstance(outcome, int):
            assert self.member.log[outcome - 1].kind is EntryKind.CONFIGURATION
            assert outcome <= self.member.commit_index
        else:
            assert isinstance(outcome, NotLeader | Overloaded | OutcomeUnknown)
