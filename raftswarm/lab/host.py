"""A machine of the world: it has a disk and clocks, outlives its processes, and may be damaged or lost for good."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Protocol

import attrs

from raftswarm.consensus.opening import bootstrap_write, prepare_newest
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidKey, StateLocked, StorageError
from raftswarm.lab.conduct import Promises
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.faults import CALM
from raftswarm.lab.history import History
from raftswarm.lab.host_clock import HostClock
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.member_process import MemberProcess
from raftswarm.lab.network import SimulatedNetwork
from raftswarm.lab.onlooker import Onlooker
from raftswarm.lab.trace import Trace
from raftswarm.lab.witnesses import WitnessedMachine, WitnessedStorage
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.member import StartingState
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine, check_machine
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import SimulatedDisk

KEYS_DIRECTORY = "certificates"
RAFT_DIRECTORY = "raft"
LOG_DIRECTORY = f"{RAFT_DIRECTORY}/log"
SNAPSHOTS_DIRECTORY = f"{RAFT_DIRECTORY}/snapshots"
CLUSTER = "lab"
SNAPSHOT_SLICE_BYTES = 1000
"""Little, so that snapshots of small states are written in several slices."""


@attrs.define(eq=False, kw_only=True)
class Parts:
    """What all machines of a world share."""

    heap: EventHeap
    network: SimulatedNetwork
    invariants: Invariants
    history: History
    onlooker: Onlooker
    trace: Trace
    events: TraceSink | None
    settings: RaftSettings
    compaction: CompactionPolicy
    segment_bytes: int
    make_machine: Callable[[], StateMachine]


@attrs.frozen(kw_only=True)
class Software:
    """What a machine's processes run from their next start on: versions differ in their limits, and in their links."""

    settings: RaftSettings
    compaction: CompactionPolicy
    segment_bytes: int
    protocol: int = 1
    """Of the links: those who speak different ones refuse each other."""


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
        self.software = Software(
            settings=parts.settings, compaction=parts.compaction, segment_bytes=parts.segment_bytes
        )
        self.stall_seconds = 0.0
        """While its disk stalls, every job takes up to so much longer."""
        self.turn_seconds = 0.0
        """How long the loop takes to get to what waits."""
        self.disk = SimulatedDisk()
        self.unlock_keys: tuple[str | None, ...] = (None,)
        """One of them opens its keys: while the lock changes there are two that may."""
        self.clock = HostClock(parts.heap)
        self.promises = Promises(member_id)
        """Of all its processes."""
        self.entropy = SeededEntropy(chance)
        self.process: MemberProcess | None = None
        self.boot = 0
        """Of its last process."""
        self.configuration = Configuration()
        """The newest that its process had in its log; kept when that is gone."""
        self.is_damaged = False
        """Its disk no longer holds what it was given; whether it still can be used shows at the next start."""
        self.is_damaged_at_rest = False
        """What is wrong shows at the next start, or was nothing."""
        self.lacks_files = False
        """It lost a file: without the newest, no other can tell that there was one."""
        self.is_set_back = False
        """It runs on an old copy of its disk …"""
        self.is_noticed = False
        """… and was told so."""
        self.remembered_by: tuple[int, ...] = ()
        """Who has heard of the start that this one is set back behind."""
        self.is_lost = False
        """It is gone for good."""
        self.founded_with: Configuration | None = None
        """If it is one of the founders: all of them."""
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
        storage = self._format(self.disk)
        self.parts.invariants.created(self.member_id)
        if configuration.voters:
            self.founded_with = configuration
            WitnessedStorage(storage, self.member_id, self.parts.invariants).write(bootstrap_write(configuration))
        storage.close()

    def found_anew(self) -> SimulatedDisk:
        """Return a disk as it was when its member was founded, with other keys."""
        assert self.founded_with is not None, "it joined later"
        disk = SimulatedDisk()
        storage = self._format(disk)
        storage.write(bootstrap_write(self.founded_with))
        storage.close()
        return disk

    def _format(self, disk: SimulatedDisk) -> MemberStorage:
        return MemberStorage.create(
            disk,
            RAFT_DIRECTORY,
            KeyRing.create(disk, KEYS_DIRECTORY, self.entropy),
            self.entropy,
            member_id=self.member_id,
            cluster=CLUSTER,
            incarnation=1,
            segment_bytes=self.software.segment_bytes,
        )

    def start(self) -> MemberProcess:
        """Recover and run. `PowerLost` if the disk was told to end it in the middle."""
        assert self.process is None, "one process per machine"
        keys = self._open_keys(self.disk, self.entropy)
        self.unlock_keys = (keys.locked_by,)
        storage, recovered = self._open(self.disk, keys, self.entropy, self.parts.onlooker.named)
        machine = self._make_machine()
        prepare_newest(storage, machine)()
        if self.is_set_back:
            self.parts.invariants.set_back(self.member_id, recovered, self.remembered_by)
            self.remembered_by = ()
        self.parts.invariants.started(self.member_id, recovered)
        # If nothing can be lost, it finds the same again; mostly so, since a start ends with a sync.
        may_lose = not self.is_damaged and not self.disk.survives_power_loss(RAFT_DIRECTORY)
        if may_lose and _content(recovered) != _content(self.recover_copy()):
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
        self.boot = start.boot
        self.process = MemberProcess(self, start, storage, machine)
        return self.process

    def find_damage(self, disk: SimulatedDisk) -> str:
        """Try to recover a copy of its disk that is damaged, or may be: what is wrong with it, or nothing."""
        try:
            recovered = self.recover(disk, self.parts.onlooker.named)
        except StorageError as refusal:
            return f"{type(refusal).__name__}: {refusal}"
        invariants = self.parts.invariants
        knows_boot = recovered.boot > self.boot
        if knows_boot and invariants.may_recover(self.member_id, recovered):
            return ""
        if not self.lacks_files and not (knows_boot and invariants.may_forget(self.member_id, recovered)):
            raise Violation(f"19: the disk of {self.member_id} is damaged, and its member does not notice")
        return "less: it remembers less than it had"

    def check_power_loss(self, left: SimulatedDisk, fate: str) -> Recovered:
        """Recover what a loss of power would leave: what the member relies on, and what it was writing, or not."""
        try:
            recovered = self.recover(left)
        except StorageError as refusal:
            raise Violation(
                f"the power failed, {fate}, and member {self.member_id} refuses to start: {refusal}"
            ) from refusal
        if recovered.boot <= self.boot or not self.parts.invariants.may_recover(self.member_id, recovered):
            raise Violation(
                f"8: the power failed, {fate}, and member {self.member_id} has lost something: {_outline(recovered)}"
            )
        return recovered

    def recover_copy(self) -> Recovered:
        """Recover what would be left if the power failed now and nothing unsynced had reached the disk."""
        return self.recover(self.disk.after_power_loss())

    def recover(self, disk: SimulatedDisk, named: RuleSink = ignore_rule) -> Recovered:
        """Recover a disk as this machine's would be; what is wrong with it is raised."""
        entropy = SeededEntropy(Random(0))  # noqa: S311 - a copy that is looked at once
        keys = self._open_keys(disk, entropy)
        return self._open(disk, keys, entropy, named)[1]

    def _open_keys(self, disk: SimulatedDisk, entropy: SeededEntropy) -> KeyRing:
        """Try the keys that somebody may remember, the newest first."""
        *others, oldest = reversed(self.unlock_keys)
        for unlock_key in others:
            with contextlib.suppress(InvalidKey, StateLocked):
                return KeyRing.open(disk, KEYS_DIRECTORY, entropy, unlock_key=unlock_key)
        return KeyRing.open(disk, KEYS_DIRECTORY, entropy, unlock_key=oldest)

    def _open(
        self, disk: SimulatedDisk, keys: KeyRing, entropy: SeededEntropy, named: RuleSink
    ) -> tuple[MemberStorage, Recovered]:
        return MemberStorage.open(
            disk,
            RAFT_DIRECTORY,
            keys,
            entropy,
            segment_bytes=self.software.segment_bytes,
            snapshot_slice_bytes=SNAPSHOT_SLICE_BYTES,
            named=named,
        )

    def _make_machine(self) -> WitnessedMachine:
        parts = self.parts
        machine = parts.make_machine()
        check_machine(machine)
        return WitnessedMachine(machine, self.member_id, parts.invariants, parts.history.applied)


def _outline(recovered: Recovered) -> str:
    last = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
    return f"boot {recovered.boot}, {recovered.hard_state}, snapshot {recovered.snapshot.index}, last entry {last}"


def _content(recovered: Recovered) -> tuple[object, ...]:
    """What a member builds on; entries below the snapshot may or may not be there still."""
    snapshot = recovered.snapshot
    return recovered.hard_state, snapshot, [entry for entry in recovered.entries if entry.index > snapshot.index]
