"""Loss of power at every disk call of a run: what would be left is recovered and judged; and now and then it happens.

Before each call that changes or syncs something, copies of that machine's disk are made as the power might leave it:
with nothing that is not synced, with all of it, with some sectors lost, reordered and torn, with a write cut at a byte.
Each is recovered by the code that ships, and has to hold what its member relies on. What all machines would be left
with, if they failed at that same moment, has to let nobody be elected who lacks what was acknowledged. Between these
moments the power of one, some or all machines does fail, so that recoveries and what follows them are run through too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from random import Random
from typing import Final

import attrs

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.clients import Clients
from raftswarm.lab.conditions import DiskConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import Host
from raftswarm.lab.invariants import Violation
from raftswarm.lab.log_image import LogImage
from raftswarm.lab.machines import MAX_CALLS_OF_A_CUT_JOB
from raftswarm.lab.phases import check_liveness
from raftswarm.raft.settings import RaftSettings
from raftswarm.world.simulated_disk import SimulatedDisk

MIX: Final = FaultMix(
    segment_bytes=4096,
    compaction=CompactionPolicy(snapshot_every_commands=40, keep_entries=5, keep_bytes_for_followers=0),
    disk=DiskConditions(latency_seconds=0.003, jitter_seconds=0.002),
    settings=RaftSettings(heartbeat_seconds=0.02, election_seconds=0.2),
    clients=5,
    call_every=0.01,
    session_share=0.5,
)
"""Little of everything, so that a short run has many terms, segments, snapshots and transfers of them; and disks that
nearly always have a write under way."""
TORN_IMAGES: Final = 2
CUTS_OF_A_WRITE: Final = 3
"""So many drawn bytes at which a write is cut, of most writes …"""
EVERY_BYTE_OF: Final = 40
"""… and all of them, of one write in so many, if it is not a long one."""
LONG_WRITE_BYTES: Final = 1500
RUN_SECONDS: Final = 0.3
DOWN_SECONDS: Final = 0.3
"""Means; who was down for long needs a snapshot."""
FIRST_LEADER_SECONDS: Final = 10.0
RECOVERY_CRASH_SHARE: Final = 0.3
KILL_SHARE: Final = 0.3
"""Of crashes that leave the power on: what was not synced is still there at the next start, and can be lost later."""
MAX_CALLS_OF_A_RECOVERY: Final = 40


class Fate(StrEnum):
    """What became of what was not synced."""

    LOST = "all of it lost"
    KEPT = "all of it kept"
    TORN = "sectors lost, reordered, torn"
    CUT = "a write cut at a byte"


@attrs.define(kw_only=True)
class Tally:
    """What was tried, and what came of it."""

    simulated_seconds: float = 0.0
    disk_calls: Counter[str] = attrs.field(factory=Counter)
    """By kind; before each of them the power may have failed."""
    images: Counter[str] = attrs.field(factory=Counter)
    """Disks that were recovered, by `Fate`."""
    cut_whole: int = 0
    """Writes that were cut at every byte."""
    ahead: int = 0
    """Images that held a write, or a part of an installation, that nobody had been told of yet."""
    clusters: int = 0
    """Moments at which all machines would have failed at once."""
    failures_of: Counter[str] = attrs.field(factory=Counter)
    """Losses of power, and kills without, that happened: of how many machines at once."""
    recoveries_cut: int = 0
    """Starts in which the power failed once more."""
    acknowledged: int = 0
    """Writes."""
    violations: list[str] = attrs.field(factory=list)

    def add(self, other: Tally) -> None:
        """Take in what another run found."""
        self.simulated_seconds += other.simulated_seconds
        self.disk_calls += other.disk_calls
        self.images += other.images
        self.cut_whole += other.cut_whole
        self.ahead += other.ahead
        self.clusters += other.clusters
        self.failures_of += other.failures_of
        self.recoveries_cut += other.recoveries_cut
        self.acknowledged += other.acknowledged
        self.violations += other.violations


def run_power_loss(seed: int, seconds: float, *, members: int = 3) -> Tally:
    """Run one world for so many simulated seconds, and then until it has served and agreed again."""
    tally = Tally()
    try:
        world = CoreWorld(seed, members=members, faults=MIX)
        clients = Clients(world)
        try:
            PowerFailures(world, tally).run(seconds)
            clients.stop()
            check_liveness(world)
        finally:
            tally.simulated_seconds = world.now
            tally.acknowledged = world.history.acknowledged_writes
    except Exception as error:  # noqa: BLE001 - whatever a seed finds is what came of it
        tally.violations.append(f"seed {seed}, after {tally.simulated_seconds:.6f} s: {type(error).__name__}: {error}")
    return tally


class PowerFailures:
    """Watches the disks of a world, and lets its power fail."""

    def __init__(self, world: CoreWorld, tally: Tally) -> None:
        self.tally = tally
        self._world = world
        self._chance = world.chance("power loss")
        self._versions: Counter[int] = Counter()
        """How often each disk was about to change."""
        self._left: dict[int, tuple[int, list[LogImage]]] = {}
        """What would be left of each member's log, as of a version of its disk."""
        for host in world.hosts.values():
            host.disk.watcher = partial(self._before, host)

    def run(self, seconds: float) -> None:
        """Let the power fail again and again: of one machine, of some, of all."""
        world, chance = self._world, self._chance
        counts = [1, max(1, len(world.hosts) // 2), len(world.hosts)]
        world.run_until(lambda: world.leader is not None, within_seconds=FIRST_LEADER_SECONDS, what="a first leader")
        until = world.now + seconds
        while world.now < until:
            world.run_for(chance.expovariate(1.0 / RUN_SECONDS))
            victims = chance.sample(world.running, min(chance.choice(counts), len(world.running)))
            power_lost = chance.random() >= KILL_SHARE
            for member in victims:
                calls = int(MAX_CALLS_OF_A_CUT_JOB * chance.random() ** 2)  # Most jobs have few.
                world.crash(member, power_lost=power_lost, disk_calls=calls, tearing=self._draw_source())
            if victims:
                of = "all" if len(victims) == len(world.hosts) else str(len(victims))
                self.tally.failures_of[of if power_lost else f"{of} killed"] += 1
            world.run_for(chance.expovariate(1.0 / DOWN_SECONDS))
            for member in victims:
                self._start(member)
        for host in world.hosts.values():
            host.disk.watcher = None

    def _start(self, member: int) -> None:
        chance = self._chance
        while chance.random() < RECOVERY_CRASH_SHARE:
            calls = chance.randrange(MAX_CALLS_OF_A_RECOVERY)
            self._world.start_and_crash(member, calls, power_lost=True, tearing=self._draw_source())
            self.tally.recoveries_cut += 1
        self._world.start(member)

    def _draw_source(self) -> Random:
        return Random(self._chance.getrandbits(64))  # noqa: S311 - a simulation has to be repeatable

    # What would be left.

    def _before(self, host: Host, kind: str, path: str) -> None:
        self.tally.disk_calls[kind] += 1
        self._versions[host.member_id] += 1
        left = [self._judge(host, fate, image) for fate, image in self._draw_images(host.disk, path)]
        others = {
            other.member_id: self._left_of(other)
            for other in self._world.hosts.values()
            if other.member_id != host.member_id
        }
        for image in left:
            drawn = {member: self._chance.choice(images) for member, images in others.items()}
            self._check_cluster({host.member_id: image, **drawn})

    def _draw_images(self, disk: SimulatedDisk, path: str) -> Iterator[tuple[Fate, SimulatedDisk]]:
        yield Fate.LOST, disk.after_power_loss()
        if disk.survives_power_loss():
            return
        yield Fate.KEPT, disk.copy()
        for _ in range(TORN_IMAGES):
            yield Fate.TORN, disk.tear(self._draw_source())
        size = disk.unsynced_write(path)
        if not size:
            return
        if size > LONG_WRITE_BYTES or self._chance.randrange(EVERY_BYTE_OF):
            places = [self._chance.randrange(size) for _ in range(CUTS_OF_A_WRITE)]
        else:
            places = list(range(size))
            self.tally.cut_whole += 1
        for kept in places:
            yield Fate.CUT, disk.cut_write(path, kept)

    def _left_of(self, host: Host) -> list[LogImage]:
        """Return what might be left of a machine that does nothing at this moment."""
        version, known = self._left.get(host.member_id, (-1, []))
        if version != self._versions[host.member_id]:
            known = [self._judge(host, Fate.LOST, host.disk.after_power_loss())]
            if not host.disk.survives_power_loss():
                known.append(self._judge(host, Fate.TORN, host.disk.tear(self._draw_source())))
            self._left[host.member_id] = self._versions[host.member_id], known
        return known

    def _judge(self, host: Host, fate: Fate, image: SimulatedDisk) -> LogImage:
        self.tally.images[fate] += 1
        recovered = host.check_power_loss(image, fate)
        self.tally.ahead += not self._world.invariants.durable(host.member_id).is_same_as(recovered)
        return LogImage.of(recovered.snapshot, recovered.entries)

    def _check_cluster(self, left: Mapping[int, LogImage]) -> None:
        """Nobody whom a majority would elect lacks what was acknowledged (5.4.1)."""
        self.tally.clusters += 1
        acknowledged = self._world.history.acknowledged_index
        if not acknowledged:
            return
        term = self._world.invariants.committed[acknowledged].term
        for member, log in left.items():
            votes = sum(_last(other) <= _last(log) for other in left.values())
            if 2 * votes > len(left) and not log.holds(acknowledged, term):
                raise Violation(
                    f"4: the power failed everywhere, and {member}, which may lead, lacks entry {acknowledged}"
                )


def _last(log: LogImage) -> tuple[int, int]:
    return log.last_term, log.last_index
