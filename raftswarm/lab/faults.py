"""What goes wrong, how often: every seed draws its own mix, in which any fault may be absent (swarm testing).

A run in which everything goes wrong at once seldom gets far enough to go wrong in an interesting way.
"""

from __future__ import annotations

from math import inf
from random import Random

import attrs

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.network import NetworkConditions
from raftswarm.raft.settings import RaftSettings


@attrs.frozen(kw_only=True)
class DiskConditions:
    """How long a disk job takes."""

    latency_seconds: float = 0.0005
    jitter_seconds: float = 0.0002
    """Mean of what comes on top, exponentially distributed."""

    def draw_seconds(self, chance: Random) -> float:
        """Draw one job's time."""
        return self.latency_seconds + chance.expovariate(1.0) * self.jitter_seconds


@attrs.frozen(kw_only=True)
class FaultMix:
    """One draw. Times named ``every`` are means between two such faults in the whole world; 0 is never."""

    network: NetworkConditions = NetworkConditions()
    disk: DiskConditions = DiskConditions()
    settings: RaftSettings = RaftSettings()
    compaction: CompactionPolicy = CompactionPolicy()
    segment_bytes: int = 64 * 1024
    """Of the log's files; small, since every start zeroes one."""

    crash_every: float = 0.0
    down_seconds: float = 1.0
    """Mean time until a crashed process starts again."""
    power_share: float = 0.0
    """Share of crashes that take the machine's power, and with it what was not synced."""
    recovery_crash_share: float = 0.0
    """Share of starts that crash in recovery."""
    all_crash_every: float = 0.0
    stop_every: float = 0.0
    """Clean ends."""
    pause_every: float = 0.0
    pause_seconds: float = 1.0
    partition_every: float = 0.0
    partition_seconds: float = 1.5
    one_way_share: float = 0.0
    """Share of partitions that cut one direction only."""
    stall_every: float = 0.0
    stall_seconds: float = 1.0
    disk_failure_every: float = 0.0
    transfer_every: float = 0.0
    change_every: float = 0.0
    """Members come and go."""
    usurp_every: float = 0.0
    """A leader is replaced and cannot hear of it, while clients ask it and its successor."""
    clock_spread: float = 0.0
    """Monotonic clocks run at 1 +- this rate."""
    priority_levels: int = 1
    """Members have so many different priorities."""
    wall_spread_seconds: float = 0.0
    turn_seconds: float = 0.0
    call_every: float = 0.1
    """Clients."""

    def draw_clock_rate(self, chance: Random) -> float:
        """Draw how fast a machine's clock goes."""
        return 1.0 + (2 * chance.random() - 1) * self.clock_spread

    def priority_of(self, member: int) -> int:
        """Return a member's priority."""
        return member % self.priority_levels

    def draw_wall_offset(self, chance: Random) -> float:
        """Draw how wrong a machine's date is."""
        return (2 * chance.random() - 1) * self.wall_spread_seconds


def draw_fault_mix(chance: Random) -> FaultMix:
    """Draw which faults there are, and how hard they strike."""

    def maybe(low: float, high: float, share: float = 0.5) -> float:
        strength = chance.uniform(low, high)
        return strength if chance.random() < share else 0.0

    clock_spread = maybe(0.0, 0.3, 0.3)
    return FaultMix(
        network=NetworkConditions(
            delay_seconds=chance.choice((0.0001, 0.001, 0.01)),
            jitter_seconds=chance.choice((0.0001, 0.001, 0.02)),
            loss=maybe(0.0, 0.3, 0.4),
            duplication=maybe(0.0, 0.5, 0.4),
            reordering=maybe(0.0, 0.5, 0.4),
            reordering_seconds=chance.choice((0.01, 0.2, 2.0)),
            damage=maybe(0.0, 0.1, 0.3),
            bytes_per_second=chance.choice((1e4, 1e6, 1e8)),
        ),
        disk=DiskConditions(
            latency_seconds=chance.choice((0.00005, 0.001, 0.01)), jitter_seconds=chance.choice((0.0001, 0.001, 0.05))
        ),
        settings=_draw_settings(chance, clock_spread),
        compaction=CompactionPolicy(
            snapshot_every_commands=chance.choice((3, 20, 100, 10_000)),
            snapshot_every_seconds=chance.choice((0.5, inf, inf)),
            keep_entries=chance.choice((0, 2, 20, 500)),
            keep_bytes_for_followers=chance.choice((0, 1000, 1_000_000)),
        ),
        segment_bytes=chance.choice((1024, 4096, 64 * 1024)),
        crash_every=maybe(1.0, 8.0, 0.7),
        down_seconds=chance.choice((0.05, 0.5, 3.0)),
        power_share=chance.choice((0.0, 0.5, 1.0)),
        recovery_crash_share=maybe(0.0, 0.4, 0.3),
        all_crash_every=maybe(5.0, 20.0, 0.25),
        stop_every=maybe(2.0, 10.0, 0.3),
        pause_every=maybe(2.0, 8.0, 0.4),
        pause_seconds=chance.choice((0.1, 1.0, 5.0)),
        partition_every=maybe(2.0, 8.0, 0.5),
        partition_seconds=chance.choice((0.2, 1.5, 5.0)),
        one_way_share=chance.choice((0.0, 0.3, 1.0)),
        stall_every=maybe(1.0, 6.0, 0.3),
        stall_seconds=chance.choice((0.1, 1.0, 3.0)),
        disk_failure_every=maybe(3.0, 12.0, 0.2),
        transfer_every=maybe(1.0, 8.0, 0.3),
        change_every=maybe(1.0, 6.0, 0.4),
        clock_spread=clock_spread,
        priority_levels=chance.choice((1, 1, 2, 5)),
        wall_spread_seconds=maybe(0.0, 7200.0, 0.3),
        turn_seconds=chance.choice((0.0, 0.0002, 0.005)),
        call_every=chance.choice((0.01, 0.05, 0.3)),
        usurp_every=maybe(1.0, 6.0),
    )


def _draw_settings(chance: Random, clock_spread: float) -> RaftSettings:
    """Tiny limits make rare branches common; leases count on clocks that are just as good as they are."""
    return RaftSettings(
        lease_reads=chance.random() < 0.4,
        clock_drift=(1 + clock_spread) / (1 - clock_spread) - 1,
        slow_disk_seconds=chance.choice((0.05, 0.5)),
        append_window_bytes=chance.choice((1, 1024, 4 * 1024 * 1024)),
        append_window_messages=chance.choice((1, 2, 256)),
        append_message_bytes=chance.choice((1, 256, 256 * 1024)),
        uncommitted_bytes=chance.choice((512, 64 * 1024 * 1024)),
    )
