"""A machine of the world, and the process on it that runs one member: the `Surroundings` of its replica.

The machine has the disk and the clocks and outlives its processes; a process begins with recovery and ends with a
crash. Everything that reaches a process passes `reached_by`, so that a paused one gets it all at once later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, nextafter
from random import Random
from typing import Protocol

import attrs

from raftswarm.consensus.opening import bootstrap_write
from raftswarm.consensus.replica import CompactionPolicy, Replica
from raftswarm.errors import Regressed, StorageError
from raftswarm.lab.disk_runner import VirtualDiskRunner
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.faults import CALM
from raftswarm.lab.history import History
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.network import BulkEnd, SimulatedNetwork
from raftswarm.lab.snapshot_streams import ReceivingStream, SendingStream
from raftswarm.lab.trace import Trace
from raftswarm.lab.witnesses import WitnessedMachine, WitnessedMember, WitnessedStorage
from raftswarm.raft.events import PeerConnected, PeerStopped, PeerUnreachable, Receive
from raftswarm.raft.log_entry import Configuration, SnapshotMeta
from raftswarm.raft.member import StartingState
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.ready import Leadership
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.transport.snapshot_transfer import OutgoingSnapshot
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk

KEYS_DIRECTORY = "certificates"
RAFT_DIRECTORY = "raft"
LOG_DIRECTORY = f"{RAFT_DIRECTORY}/log"
SNAPSHOTS_DIRECTORY = f"{RAFT_DIRECTORY}/snapshots"
CLUSTER = "lab"
SNAPSHOT_SLICE_BYTES = 300
"""Little, so that snapshots of small states are written in several slices."""
EPOCH_NS = 1_700_000_000 * 10**9


@attrs.define(eq=False)
class HostClock:
    """A machine's clocks: the monotonic one may be fast or slow, or stand; the wall clock may jump."""

    heap: EventHeap
    wall_offset_seconds: float = 0.0
    rate: float = 1.0
    _world_base: float = 0.0
    _local_base: float = 0.0
    _stands_at: float | None = None

    def now(self) -> float:
        """Monotonic seconds."""
        if self._stands_at is not None:
            return self._stands_at
        return self._local_base + (self.heap.now - self._world_base) * self.rate

    def to_world(self, local: float) -> float:
        """When, on the world's clock, this clock will show `local` or a little more, never less."""
        world = self._world_base + (local - self._local_base) / self.rate
        while self._local_base + (world - self._world_base) * self.rate < local:
            world = nextafter(world, inf)
        return world

    def run_at(self, rate: float) -> None:
        """Go at this rate from now on."""
        self._local_base, self._world_base, self.rate = self.now(), self.heap.now, rate

    def stand(self) -> None:
        """Show the same time until `go_on`."""
        self._stands_at = self.now()

    def go_on(self) -> None:
        """Go on from where it stands."""
        if self._stands_at is not None:
            self._local_base, self._world_base, self._stands_at = self._stands_at, self.heap.now, None

    def now_ns(self) -> int:
        """Wall time."""
        return EPOCH_NS + int((self.heap.now + self.wall_offset_seconds) * 1e9)


@attrs.frozen
class DeathInTurn:
    """How a process is to die in the middle of a turn."""

    messages: int
    """After it has sent so many in that turn."""
    tearing: Random | None
    """What becomes of unsynced writes, if the power fails with it."""


@attrs.define(eq=False, kw_only=True)
class Parts:
    """What all machines of a world share."""

    heap: EventHeap
    network: SimulatedNetwork
    invariants: Invariants
    history: History
    trace: Trace
    events: TraceSink | None
    settings: RaftSettings
    compaction: CompactionPolicy
    segment_bytes: int
    make_machine: Callable[[], StateMachine]


class DiskLatency(Protocol):
    """How long a disk job takes."""

    def draw_seconds(self, chance: Random) -> float:
        """Draw one job's time."""
        ...


class Host:
    """One machine: a disk, clocks, and a source of chance of its own."""

    def __init__(
        self,
        member_id: int,
        parts: Parts,
        chance: Random,
        latency: DiskLatency,
        on_failure: Callable[[Host, BaseException], None],
    ) -> None:
        self.member_id = member_id
        self.parts = parts
        self.chance = chance
        self.crash_chance = Random(chance.random())  # noqa: S311 - a simulation has to be repeatable
        self.latency = latency
        self.on_failure = on_failure
        self.stall_seconds = 0.0
        """While its disk stalls, every job takes up to so much longer."""
        self.turn_seconds = 0.0
        """How long the loop takes to get to what waits."""
        self.disk = SimulatedDisk()
        self.clock = HostClock(parts.heap)
        self.entropy = SeededEntropy(chance)
        self.process: MemberProcess | None = None
        self.configuration = Configuration()
        """The newest that its process had in its log; kept when that is gone."""
        self.is_damaged = False
        """Its disk no longer holds what it was given; whether it still can be used shows at the next start."""
        self.is_damaged_at_rest = False
        """What is wrong shows at the next start, or was nothing."""
        self.lacks_files = False
        """It lost a file: without the newest, no other can tell that there was one."""
        self.is_set_back = False
        """It runs on an old copy of its disk."""
        self.is_lost = False
        """It is gone for good."""
        self.copy: tuple[int, Configuration, SimulatedDisk] | None = None
        """An old copy of the disk: of which boot, with which members."""

    def calm(self) -> None:
        """Let disk and loop be fast and true from now on; what waits for them may be long."""
        self.latency = CALM.disk
        self.turn_seconds = CALM.turn_seconds
        self.stall_seconds = 0.0
        self.disk.end_failure()
        if self.process is not None:
            self.process.death = None

    def create(self, configuration: Configuration) -> None:
        """Give the machine keys and an empty log; without a configuration it waits to be told one."""
        keys = KeyRing.create(self.disk, KEYS_DIRECTORY, self.entropy)
        storage = MemberStorage.create(
            self.disk,
            RAFT_DIRECTORY,
            keys,
            self.entropy,
            member_id=self.member_id,
            cluster=CLUSTER,
            incarnation=1,
            segment_bytes=self.parts.segment_bytes,
        )
        self.parts.invariants.created(self.member_id)
        if configuration.voters:
            WitnessedStorage(storage, self.member_id, self.parts.invariants).write(bootstrap_write(configuration))
        storage.close()

    def start(self) -> MemberProcess:
        """Recover and run. `PowerLost` if the disk was told to end it in the middle."""
        assert self.process is None, "one process per machine"
        keys = KeyRing.open(self.disk, KEYS_DIRECTORY, self.entropy)
        storage, recovered = self._open(self.disk, keys, self.entropy)
        newest = storage.read_snapshot()
        machine = self._make_machine()
        if newest is not None:
            machine.restore(newest[1])
        if self.is_set_back:
            self.parts.invariants.set_back(self.member_id, recovered)
        self.parts.invariants.started(self.member_id, recovered)
        if not self.is_damaged and _content(recovered) != _content(self.recover_copy()):
            raise Violation(f"10: member {self.member_id} builds on what it recovered before that is durable")
        start = StartingState(
            member_id=recovered.member_id,
            cluster=recovered.cluster,
            incarnation=recovered.incarnation,
            boot=recovered.boot,
            hard_state=recovered.hard_state,
            snapshot=recovered.snapshot,
            entries=recovered.entries,
        )
        self.process = MemberProcess(self, start, storage, machine)
        return self.process

    def find_damage(self) -> str:
        """Try to recover a damaged disk, on a copy: what is wrong with it, or nothing."""
        try:
            recovered = self._recover(self.disk.copy())
        except StorageError as refusal:
            return f"{type(refusal).__name__}: {refusal}"
        invariants = self.parts.invariants
        if invariants.may_recover(self.member_id, recovered):
            return ""
        if not self.lacks_files and not invariants.may_forget(self.member_id, recovered):
            raise Violation(f"19: the disk of {self.member_id} is damaged, and its member does not notice")
        return "less: it remembers less than it had"

    def recover_copy(self) -> Recovered:
        """Recover what would be left if the power failed now and nothing unsynced had reached the disk."""
        return self._recover(self.disk.after_power_loss())

    def _recover(self, disk: SimulatedDisk) -> Recovered:
        entropy = SeededEntropy(Random(0))  # noqa: S311 - a copy that is looked at once
        keys = KeyRing.open(disk, KEYS_DIRECTORY, entropy)
        return self._open(disk, keys, entropy)[1]

    def _open(self, disk: SimulatedDisk, keys: KeyRing, entropy: SeededEntropy) -> tuple[MemberStorage, Recovered]:
        return MemberStorage.open(
            disk,
            RAFT_DIRECTORY,
            keys,
            entropy,
            segment_bytes=self.parts.segment_bytes,
            snapshot_slice_bytes=SNAPSHOT_SLICE_BYTES,
        )

    def _make_machine(self) -> WitnessedMachine:
        parts = self.parts
        return WitnessedMachine(parts.make_machine(), self.member_id, parts.invariants, parts.history.applied)


def _content(recovered: Recovered) -> tuple[object, ...]:
    """What a member builds on; entries below the snapshot may or may not be there still."""
    snapshot = recovered.snapshot
    return recovered.hard_state, snapshot, [entry for entry in recovered.entries if entry.index > snapshot.index]


class DiedInTurn(PowerLost):
    """The process that was in this turn no longer exists."""


class MemberProcess:
    """One run of one member."""

    def __init__(self, host: Host, start: StartingState, storage: MemberStorage, machine: WitnessedMachine) -> None:
        parts = host.parts
        self.member_id = host.member_id
        self.boot = start.boot
        self.storage = storage
        self.machine = machine
        self.leadership = Leadership(term=0, leader=0, is_leader=False)
        self.paused = False
        self.death: DeathInTurn | None = None
        """It is to die in the next turn that gets so far."""
        self.died_in_turn: DeathInTurn | None = None
        self._posted = 0
        """Messages of this turn."""
        self._alive = True
        self._host = host
        self._heap = parts.heap
        self._receiving: ReceivingStream | None = None
        self._held: list[Callable[[], object]] = []
        """What arrived while it was paused."""
        self._turn_due = False
        self._deadline = inf
        self._alarm = inf
        """When the heap will look at the deadline."""
        self.runner = VirtualDiskRunner(parts.heap, self._draw_latency, self.reached_by, member=host.member_id)
        self.member = WitnessedMember(
            start,
            settings=parts.settings,
            chance=host.chance,
            now=host.clock.now(),
            invariants=parts.invariants,
            trace=parts.events,
        )
        host.configuration = self.member.configuration
        self.replica = Replica(
            member=self.member,
            storage=WitnessedStorage(storage, host.member_id, parts.invariants),
            runner=self.runner,
            machine=machine,
            surroundings=self,
            wall_clock=host.clock,
            compaction=parts.compaction,
            snapshot=start.snapshot,
        )

    # Life.

    def run(self) -> None:
        """Take the first turn soon."""
        self._host.parts.network.attach(self.member_id, self)
        self.wake()

    def pause(self) -> None:
        """Stop it as SIGSTOP would: its sockets and its disk keep what they are given."""
        self.paused = True

    def resume(self) -> None:
        """Let it run, and find at once all that waited."""
        self.paused = False
        held, self._held = self._held, []
        for action in held:
            self.reached_by(action)
        if self._alive:
            self._turn_due = False
            self.wake()

    def end(self) -> None:
        """It is gone; nothing reaches it any more."""
        self._alive = False
        self._held.clear()

    def reached_by(self, action: Callable[..., object], *arguments: object) -> None:
        """Do what the network, the disk or a client does to it: now, or when it runs on."""
        if not self._alive:
            return
        if self.paused:
            self._held.append(partial(action, *arguments))
        else:
            action(*arguments)

    def _draw_latency(self) -> float:
        host = self._host
        return host.latency.draw_seconds(host.chance) + host.chance.random() * host.stall_seconds

    # Turns.

    def wake(self) -> None:
        """Take a turn soon."""
        if not self._turn_due:
            self._turn_due = True
            self._heap.after(self._host.turn_seconds, self._take_turn)

    def _take_turn(self) -> None:
        if not self._turn_due or self.paused or not self._alive:
            return
        self._turn_due = False
        clock = self._host.clock
        self._posted = 0
        try:
            deadline = self.replica.turn(clock.now())
        except DiedInTurn as death:
            self.died_in_turn = self.death
            self.end()
            self.failed(death)
            return
        if not self._alive:
            return
        self._deadline = clock.to_world(deadline)
        if self.member.is_regressed:
            self.failed(Regressed("its disk was set back"))
            return
        self._host.parts.invariants.turn_ended(self.member_id, self.replica.applied.index)
        if self._deadline < self._alarm:
            self._alarm = self._deadline
            self._heap.at(self._alarm, self._look_at_deadline, self._alarm)

    def _look_at_deadline(self, alarm: float) -> None:
        """A deadline that moved on since needs no turn: most do, at every heartbeat."""
        if alarm != self._alarm:
            return
        self._alarm = inf
        if not self._alive or self.paused:
            return
        if self._heap.now >= self._deadline:
            self.wake()
        else:
            self._alarm = self._deadline
            self._heap.at(self._alarm, self._look_at_deadline, self._alarm)

    # What the replica asks for.

    def post(self, message: AnyMessage) -> None:
        """Send, or lose, a message."""
        trace = self._host.parts.trace
        if trace.enabled:
            trace.message(self._heap.now, message)
        self._host.parts.network.post(message)
        self._posted += 1
        if self.death is not None and self._posted >= self.death.messages:
            raise DiedInTurn

    def flush(self) -> None:
        """Nothing is held back."""

    def wake_last(self) -> None:
        """Take a turn soon: callers that are answered have their say at once."""
        self.wake()

    def send_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        """Stream a snapshot."""
        stream = SendingStream(outgoing, self.runner, partial(self.replica.snapshot_sent, to, outgoing))
        link = self._host.parts.network.open_bulk(
            self.member_id, to, partial(self.reached_by, stream.hear), partial(self.reached_by, stream.end)
        )
        stream.begin(link)

    def leadership_changed(self, leadership: Leadership) -> None:
        """Remember who leads."""
        self.leadership = leadership
        leader = leadership.leader or "nobody"
        self._tell(f"sees {leader} lead term {leadership.term}{' (itself)' * leadership.is_leader}")

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Dial the members in force. Hang up on others only when that is committed: they are to hear of it."""
        self._host.configuration = configuration
        peers = sorted({*configuration.member_ids, *committed.member_ids} - {self.member_id})
        self._host.parts.network.set_peers(self.member_id, peers)

    def note(self, sentence: str) -> None:
        """Log what the core has to say."""
        self._tell(sentence)

    def failed(self, error: BaseException) -> None:
        """Stop; the world looks at why."""
        self._tell(f"failed: {error!r}")
        self._host.on_failure(self._host, error)

    def _tell(self, sentence: str) -> None:
        trace = self._host.parts.trace
        if trace.enabled:
            trace.record(self._heap.now, f"{self.member_id}: {sentence}")

    # What the links tell.

    def received(self, message: AnyMessage) -> None:
        """A peer's message."""
        self.reached_by(self.replica.offer, Receive(message))

    def connected(self, peer: int) -> None:
        """Links to the peer are open."""
        self.reached_by(self.replica.offer, PeerConnected(peer))

    def stopped(self, peer: int) -> None:
        """The peer's process refuses connections."""
        self.reached_by(self.replica.offer, PeerStopped(peer))

    def unreachable(self, peer: int) -> None:
        """Messages to the peer were lost."""
        self.reached_by(self.replica.offer, PeerUnreachable(peer))

    def bulk_opened(self, peer: int, end: BulkEnd) -> None:
        """A snapshot comes, in the place of one that was coming."""
        if self._receiving is not None:
            self._receiving.close()

        def arrived(snapshot: SnapshotMeta) -> None:
            self._tell(f"received a snapshot of {snapshot.index} from {peer}")
            self.replica.snapshot_received(snapshot)

        stream = self._receiving = ReceivingStream(self.replica.receive_snapshot(), end, self.runner, arrived)
        end.listen(partial(self.reached_by, stream.hear), partial(self.reached_by, stream.close))
