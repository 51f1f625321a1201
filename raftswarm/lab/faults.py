"""What goes wrong, how often: every seed draws its own mix, in which any fault may be absent (swarm testing).

A run in which everything goes wrong at once seldom gets far enough to go wrong in an interesting way.
"""

from __future__ import annotations

from math import exp, inf, log
from random import Random
from typing import Any, Final

import attrs

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.conditions import DiskConditions, NetworkConditions
from raftswarm.lab.phase import Phase
from raftswarm.raft.settings import RaftSettings

__all__ = ["CALM", "DiskConditions", "FaultMix", "NetworkConditions", "draw_fault_mix"]


@attrs.frozen(kw_only=True)
class FaultMix:
    """One draw. Times named ``every`` are means between two such faults in the whole world; 0 is never."""

    network: NetworkConditions = NetworkConditions()
    other_networks: tuple[NetworkConditions, ...] = ()
    """With these, every link draws its own of them all."""
    disk: DiskConditions = DiskConditions()
    settings: RaftSettings = RaftSettings()
    compaction: CompactionPolicy = CompactionPolicy()
    segment_bytes: int = 64 * 1024
    """Of the log's files; small, since every start zeroes one."""

    # Processes.
    crash_every: float = 0.0
    down_seconds: float = 1.0
    """Mean time until a crashed process starts again."""
    power_share: float = 0.0
    """Share of crashes that take the machine's power, and with it what was not synced."""
    turn_crash_share: float = 0.0
    """Share of crashes in the middle of a turn, when some of its messages have left."""
    recovery_crash_share: float = 0.0
    """Share of starts that crash in recovery."""
    all_crash_every: float = 0.0
    receiver_crash_every: float = 0.0
    """Who has received a snapshot is killed before it has installed it."""
    storm_every: float = 0.0
    """One member is killed again and again, as soon as it comes up."""
    stop_every: float = 0.0
    """Clean ends."""
    pause_every: float = 0.0
    pause_seconds: float = 1.0
    clock_stands_share: float = 0.0
    """Share of pauses in which the monotonic clock stands still, as on a machine that sleeps."""
    slow_every: float = 0.0
    slow_turn_seconds: float = 0.05
    slow_seconds: float = 2.0
    lose_every: float = 0.0
    """A machine is gone for good, and replaced by a new one."""

    # Disks.
    stall_every: float = 0.0
    stall_seconds: float = 1.0
    starve_every: float = 0.0
    """A member is cut off while its disk stalls, and comes back with much to do."""
    disk_failure_every: float = 0.0
    lying_sync_every: float = 0.0
    bit_flip_every: float = 0.0
    misdirect_every: float = 0.0
    lost_name_every: float = 0.0
    set_back_every: float = 0.0
    """An old copy of a disk is put back."""
    trial_every: float = 0.0
    """On copies of a disk it is tried what a start would find; it costs the run nothing."""

    # Clocks.
    clock_spread: float = 0.0
    """Monotonic clocks run at 1 / (1 + this) to 1 + this of the right rate."""
    clock_change_every: float = 0.0
    wall_spread_seconds: float = 0.0
    wall_jump_every: float = 0.0

    # Links.
    partition_every: float = 0.0
    partition_seconds: float = 1.5
    one_way_share: float = 0.0
    """Share of partitions that cut one direction only."""
    mesh_every: float = 0.0
    """Cuts of any directions between any two."""
    clog_every: float = 0.0
    clog_seconds: float = 1.0
    swizzle_every: float = 0.0
    """All links of some members clog one by one, and are freed in another order."""
    half_open_every: float = 0.0
    reconnect_every: float = 0.0
    link_change_every: float = 0.0
    usurp_every: float = 0.0
    """A leader is replaced and cannot hear of it, while clients ask it and its successor."""
    nonsense_every: float = 0.0
    """Messages arrive that no member ever sends."""

    ambush: Phase | None = None
    """What the cluster has to be at for faults to begin, as far as one can wait for it; at anything, if it is None."""
    strand_every: float = 0.0
    """A leader is cut off with a long tail, and then sent a snapshot that ends within that."""
    oversleep_every: float = 0.0
    """A leader sleeps with commands that nobody else has, and wakes when others stand in their places."""
    overtaken_every: float = 0.0
    """A member is cut off while its disk is slow, so that a leader's snapshot overtakes its own."""
    late_answers_every: float = 0.0
    """A leader hears late what it was answered before it was cut off."""

    # The operator.
    transfer_every: float = 0.0
    change_every: float = 0.0
    """Members come and go."""
    upgrade_every: float = 0.0
    """Members become another version, one after another."""
    older_version_every: float = 0.0
    """A version is started that is too old for what is on the disk."""
    found_again_every: float = 0.0
    """A founder's directory is emptied, and it is founded once more."""
    backup_every: float = 0.0
    """All members are backed up, and set back to that some time later: what was acknowledged since is lost."""
    cut_change_every: float = 0.0
    """The leader is cut off as it is asked for that."""
    absurd_change_every: float = 0.0
    """A leader is asked for members that nobody can have."""

    cut_behind_change_every: float = 0.0
    """A leader is cut off as soon as other members are agreed on."""
    hasty_change_every: float = 0.0
    """A new leader is asked for other members at once."""

    priority_levels: int = 1
    """Members have so many different priorities."""
    turn_seconds: float = 0.0

    # Clients.
    clients: int = 3
    call_every: float = 0.1
    """Of all clients together."""
    session_share: float = 0.0
    """Of clients that number their commands and send them again until they are answered."""
    session_idle_seconds: int = 3600
    wrong_member_share: float = 0.1
    duplicate_share: float = 0.0
    """Of commands of sessions that are sent twice at once."""
    huge_share: float = 0.0
    """Of commands as large as a command may be, or a little larger."""
    hasty_share: float = 0.0
    """Of commands of sessions that come with others out of their turn."""
    burst_share: float = 0.0
    """Of asking that comes with hundreds of commands at once."""

    def draw_clock_rate(self, chance: Random) -> float:
        """Draw how fast a machine's clock goes."""
        return exp((2 * chance.random() - 1) * log(1 + self.clock_spread))

    def allows_clock_rate(self, rate: float) -> bool:
        """Tell whether a clock may go so fast: leases count on that."""
        return 1 / (1 + self.clock_spread) <= rate <= 1 + self.clock_spread

    def priority_of(self, member: int) -> int:
        """Return a member's priority."""
        return member % self.priority_levels

    def draw_wall_offset(self, chance: Random) -> float:
        """Draw how wrong a machine's date is."""
        return (2 * chance.random() - 1) * self.wall_spread_seconds


AMBUSHES: Final = tuple(phase for phase in Phase if phase is not Phase.IDLE)

HEARTBEATS: Final = (0.1, 0.2, 0.25)
"""How often a leader is heard of, in election timeouts."""
PACES: Final = (1.0, 2.0, 2.0)
"""Clusters that are struck so often that they get nothing done find little: most worlds go slower."""
SELDOM_SECONDS: Final = 25.0

CALM: Final = FaultMix()
"""Nothing goes wrong."""


def draw_fault_mix(chance: Random) -> FaultMix:
    """Draw which faults there are, and how hard they strike."""

    def maybe(low: float, high: float, share: float = 0.5) -> float:
        strength = chance.uniform(low, high)
        return strength if chance.random() < share else 0.0

    clock_spread = maybe(0.0, 1.0, 0.3)
    damage_share = chance.choice((0.0, 0.3))
    """Members that lose what they had take long to replace: most worlds know nothing of that."""
    mix = FaultMix(
        network=_draw_network(chance),
        other_networks=tuple(_draw_network(chance) for _ in range(chance.choice((0, 0, 2)))),
        disk=DiskConditions(
            latency_seconds=chance.choice((0.00005, 0.001, 0.01)), jitter_seconds=chance.choice((0.0001, 0.001, 0.05))
        ),
        settings=_draw_settings(chance, clock_spread),
        compaction=CompactionPolicy(
            snapshot_every_commands=chance.choice((2, 20, 100, 10_000)),
            snapshot_every_seconds=chance.choice((0.5, inf, inf)),
            keep_entries=chance.choice((0, 2, 20, 500)),
            keep_bytes_for_followers=chance.choice((0, 1000, 1_000_000)),
        ),
        segment_bytes=chance.choice((1, 1024, 4096, 64 * 1024)),
        crash_every=maybe(1.0, 8.0, 0.6),
        down_seconds=chance.choice((0.05, 0.5, 2.0)),
        power_share=chance.choice((0.0, 0.5, 1.0)),
        turn_crash_share=chance.choice((0.0, 0.3)),
        recovery_crash_share=maybe(0.0, 0.4, 0.3),
        all_crash_every=maybe(8.0, 30.0, 0.2),
        storm_every=maybe(5.0, 20.0, 0.2),
        stop_every=maybe(2.0, 10.0, 0.3),
        pause_every=maybe(2.0, 8.0, 0.3),
        pause_seconds=chance.choice((0.1, 1.0, 5.0, 50.0)),
        clock_stands_share=chance.choice((0.0, 0.5)),
        slow_every=maybe(2.0, 10.0, 0.2),
        slow_turn_seconds=chance.choice((0.005, 0.05, 0.3)),
        lose_every=maybe(5.0, 30.0, damage_share),
        stall_every=maybe(1.0, 6.0, 0.3),
        stall_seconds=chance.choice((0.1, 1.0, 3.0)),
        disk_failure_every=maybe(3.0, 12.0, 0.2),
        lying_sync_every=maybe(3.0, 20.0, damage_share),
        bit_flip_every=maybe(3.0, 20.0, damage_share),
        misdirect_every=maybe(3.0, 20.0, damage_share),
        lost_name_every=maybe(3.0, 20.0, damage_share),
        set_back_every=maybe(3.0, 10.0, max(damage_share, 0.15)),
        clock_spread=clock_spread,
        clock_change_every=maybe(1.0, 5.0, 0.3),
        wall_spread_seconds=maybe(0.0, 7200.0, 0.3),
        wall_jump_every=maybe(1.0, 10.0, 0.3),
        partition_every=maybe(2.0, 8.0, 0.4),
        partition_seconds=chance.choice((0.2, 1.5, 5.0)),
        one_way_share=chance.choice((0.0, 0.3, 1.0)),
        mesh_every=maybe(2.0, 10.0, 0.2),
        clog_every=maybe(1.0, 8.0, 0.2),
        clog_seconds=chance.choice((0.1, 1.0, 5.0)),
        swizzle_every=maybe(5.0, 20.0, 0.15),
        half_open_every=maybe(2.0, 8.0, 0.2),
        reconnect_every=maybe(0.5, 5.0, 0.3),
        link_change_every=maybe(0.5, 5.0, 0.3),
        usurp_every=maybe(2.0, 8.0, 0.4),
        transfer_every=maybe(1.0, 8.0, 0.3),
        change_every=maybe(1.0, 6.0, 0.4),
        priority_levels=chance.choice((1, 1, 2, 5)),
        turn_seconds=chance.choice((0.0, 0.0002, 0.005)),
        clients=chance.choice((1, 3, 10, 50)),
        call_every=chance.choice((0.04, 0.05, 0.06)),
        session_share=chance.choice((0.0, 0.5, 1.0)),
        session_idle_seconds=chance.choice((1, 10, 3600)),
        wrong_member_share=chance.choice((0.0, 0.1, 0.5)),
        duplicate_share=chance.choice((0.0, 0.2)),
        huge_share=chance.choice((0.0, 0.0, 0.001)),
        upgrade_every=maybe(8.0, 25.0, 0.25),
        older_version_every=maybe(3.0, 12.0, 0.2),
        found_again_every=maybe(3.0, 12.0, damage_share),
        backup_every=maybe(8.0, 25.0, 0.15),
        nonsense_every=maybe(0.2, 2.0, 0.3),
        hasty_share=chance.choice((0.0, 0.0, 0.05)),
        cut_change_every=maybe(2.0, 8.0, 0.1),
        absurd_change_every=maybe(1.0, 4.0, 0.1),
        starve_every=maybe(2.0, 8.0, 0.1),
        receiver_crash_every=maybe(1.0, 4.0, 0.1),
        ambush=chance.choice([*AMBUSHES]) if chance.random() < 0.2 else None,
        oversleep_every=maybe(3.0, 10.0, 0.15),
        trial_every=maybe(1.0, 5.0, 0.6),
        burst_share=chance.choice((0.0, 0.0, 0.003)),
        late_answers_every=maybe(3.0, 10.0, 0.3),
        overtaken_every=maybe(3.0, 12.0, 0.15),
        strand_every=maybe(4.0, 10.0, 0.6),
        hasty_change_every=maybe(2.0, 8.0, 0.3),
        cut_behind_change_every=maybe(3.0, 12.0, 0.25),
    )
    mix = _provoke(attrs.evolve(mix, settings=_draw_switches(chance, mix.settings)))
    return _slow_down(mix, chance.choice(PACES))


def _slow_down(mix: FaultMix, pace: float) -> FaultMix:
    """Let as many kinds of faults strike so many times less often, but each often enough for a world of a minute."""
    slower: dict[str, Any] = {}
    for field in attrs.fields(FaultMix):
        every = getattr(mix, field.name)
        if field.name.endswith("_every") and field.name != "call_every":
            slower[field.name] = max(every, min(pace * every, SELDOM_SECONDS))
    return attrs.evolve(mix, **slower)


def _provoke(mix: FaultMix) -> FaultMix:
    """Bring about what the faults wait for: it would be seldom otherwise."""
    match mix.ambush:
        case Phase.TRANSFER:
            return attrs.evolve(mix, transfer_every=mix.transfer_every or 2.0)
        case Phase.JOINT:
            return attrs.evolve(mix, change_every=mix.change_every or 2.0)
        case Phase.SNAPSHOT | Phase.CATCHING_UP:
            kept = 0 if mix.ambush is Phase.SNAPSHOT else 500
            compaction = attrs.evolve(mix.compaction, snapshot_every_commands=20, keep_entries=kept)
            return attrs.evolve(mix, partition_every=mix.partition_every or 4.0, compaction=compaction)
        case Phase.RECOVERY | Phase.ELECTION:
            return attrs.evolve(mix, crash_every=mix.crash_every or 4.0)
        case _:
            return mix


def _draw_network(chance: Random) -> NetworkConditions:
    def maybe(high: float, share: float) -> float:
        strength = chance.uniform(0.0, high)
        return strength if chance.random() < share else 0.0

    return NetworkConditions(
        delay_seconds=chance.choice((0.0001, 0.0001, 0.001, 0.001, 0.01, 0.03)),
        jitter_seconds=chance.choice((0.0001, 0.0001, 0.001, 0.001, 0.02, 0.07)),
        loss=maybe(0.3, 0.4),
        duplication=maybe(0.5, 0.4),
        reordering=maybe(0.5, 0.4),
        reordering_seconds=chance.choice((0.01, 0.2, 2.0)),
        damage=maybe(0.1, 0.3),
        breakage=maybe(0.02, 0.2),
        capacity=chance.choice((0, 0, 0, 0, 0, 1, 2, 20)),
        reading_seconds=chance.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.002, 0.01)),
        bytes_per_second=chance.choice((1e4, 1e6, 1e8)),
    )


def _draw_settings(chance: Random, clock_spread: float) -> RaftSettings:
    """Tiny limits make rare branches common; leases count on clocks that are just as good as they are."""
    return RaftSettings(
        lease_reads=chance.random() < 0.4,
        clock_drift=(1 + clock_spread) ** 2 - 1,
        slow_disk_seconds=chance.choice((0.05, 0.5)),
        append_window_bytes=chance.choice((1, 1024, 4 * 1024 * 1024)),
        append_window_messages=chance.choice((1, 2, 256)),
        append_message_bytes=chance.choice((1, 256, 256 * 1024)),
        uncommitted_bytes=chance.choice((512, 64 * 1024 * 1024, 64 * 1024 * 1024)),
    )


def _draw_switches(chance: Random, settings: RaftSettings) -> RaftSettings:
    """Some clusters do without pre-votes, some leaders are heard of only a few times in an election timeout.

    None does without check-quorum: a deaf leader might lead it for ever.
    """
    beat_seconds = chance.choice(HEARTBEATS) * settings.election_seconds
    return attrs.evolve(settings, pre_vote=chance.random() >= 0.1, heartbeat_seconds=beat_seconds)
