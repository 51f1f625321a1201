"""Plans of several steps that strikes drawn one by one hardly ever line up to: each was made for bugs that got by."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    ChangeMembers,
    Clog,
    Interrogate,
    Partition,
    Pause,
    Rejoin,
    Resume,
    Stall,
    TransferLeadership,
    TryFlip,
    TryOldLogs,
    TryPowerLoss,
    Unclog,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import LOG_DIRECTORY, SNAPSHOTS_DIRECTORY
from raftswarm.lab.plans import Plan, Strike, pick
from raftswarm.raft.roles import Leader

LOOK_EVERY_SECONDS = 0.0005
HASTY_LOOKS = 600
STRAND_LOOK_SECONDS = 0.01
STRAND_LOOKS = 500
MANY_SNAPSHOTS = 20
"""A snapshot so soon, and so few entries behind it: whoever was away needs the leader's."""
TRIALS: Final = ("flip", "flip", "power loss", "power loss", "old logs")
"""Old logs are the dearest to look at."""
NEWEST_RECORDS = 4
NAMES_SHARE = 0.5


class RarePlans:
    """Draws from a mix."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        yield Strike("oversleep", self._mix.oversleep_every, self._oversleep)
        if self._world.settings.lease_reads:
            yield Strike("late answers", self._mix.late_answers_every, self._answer_late)
        yield Strike("overtaken", self._mix.overtaken_every, self._overtake)
        yield Strike("hasty change", self._mix.hasty_change_every, self._change_hastily)
        yield Strike("cut behind change", self._mix.cut_behind_change_every, self._cut_behind_change)
        yield Strike("trial", self._mix.trial_every, self._try_out)
        compaction = self._mix.compaction
        if compaction.snapshot_every_commands <= MANY_SNAPSHOTS and compaction.keep_entries < MANY_SNAPSHOTS:
            yield Strike("strand", self._mix.strand_every, self._strand)

    def _oversleep(self, chance: Random) -> Plan:
        """A leader sleeps with commands in its log that nobody else has, and finds its successor's when it wakes.

        It learns in one turn what stands in their places, and that it is committed. Cut off for longer, it would have
        stepped down before that.
        """
        old = self._world.leader
        if old is None:
            return
        others = tuple(
            sorted(member for member, host in self._world.hosts.items() if member != old and not host.is_lost)
        )
        timeout = self._world.settings.election_seconds
        yield Partition((old,), others)
        yield chance.uniform(0.05, 0.4) * timeout
        yield Pause(old)
        yield chance.uniform(2.0, 4.0) * timeout
        yield Rejoin((old,), others)
        yield chance.uniform(0.2, 1.5) * timeout
        yield Resume(old)

    def _answer_late(self, chance: Random) -> Plan:
        """A leader is heard until it is cut off; what it then hears are late answers, while others elect another.

        A lease has to run from when it asked, and not from when it was answered.
        """
        world = self._world
        old = world.leader
        if old is None:
            return
        others = tuple(sorted(member for member, host in world.hosts.items() if member != old and not host.is_lost))
        timeout = world.settings.election_seconds
        for other in others:
            yield Clog(other, old)
        yield chance.uniform(0.1, 0.4) * timeout
        yield Partition((old,), others, is_one_way=True)
        yield chance.uniform(0.4, 0.5) * timeout
        for other in others:
            yield Unclog(other, old)
        yield 0.03 * timeout
        yield Partition(others, (old,), is_one_way=True)
        yield Interrogate(old, 2 * timeout)
        yield 2 * timeout
        yield Rejoin((old,), others)

    def _overtake(self, chance: Random) -> Plan:
        """A slow disk is still at a snapshot of its own when a newer one of the leader's is installed."""
        member = pick(self._world, chance)
        if member is None:
            return
        others = tuple(sorted(other for other in self._world.hosts if other != member))
        yield Stall(member, 0.3)
        yield chance.uniform(0.1, 1.0)
        yield Partition((member,), others)
        yield chance.uniform(0.5, 2.0)
        yield Rejoin((member,), others)
        yield chance.uniform(1.0, 3.0)
        yield Stall(member, 0.0)

    def _change_hastily(self, chance: Random) -> Plan:
        """Leadership is handed over, and the new leader is asked for other members before it has committed anything."""
        world = self._world
        old = world.leader
        if old is None:
            return
        yield TransferLeadership(old)
        for _ in range(HASTY_LOOKS):
            yield LOOK_EVERY_SECONDS
            for member in filter(self._has_just_begun, world.running):
                voters = [info.id for info in world.process(member).member.configuration.voters]
                gone = chance.choice(voters)
                if len(voters) > 1:
                    yield ChangeMembers(tuple(voter for voter in voters if voter != gone), member=member)
                return

    def _cut_behind_change(self, chance: Random) -> Plan:
        """Members change, and what their leader appends right behind that is cut off by its successor."""
        world = self._world
        old = world.leader
        if old is None:
            return
        before = world.hosts[old].configuration
        staying = [info.id for info in before.voters if info.id == old or chance.random() < 0.7]
        yield ChangeMembers(tuple(staying), member=old)
        for _ in range(HASTY_LOOKS):
            yield LOOK_EVERY_SECONDS
            process = world.hosts[old].process
            if process is None or (
                process.member.configuration != before
                and process.member.commit_index == process.member.last_index == process.member.configuration_index
            ):
                break
        others = tuple(sorted(other for other in world.hosts if other != old))
        timeout = world.settings.election_seconds
        yield Partition((old,), others)
        if others:
            # It is the old leader that is written to meanwhile.
            yield Interrogate(chance.choice(others), 0.5 * timeout)
        yield chance.uniform(2.0, 4.0) * timeout
        yield Rejoin((old,), others)

    def _has_just_begun(self, member: int) -> bool:
        """Tell whether it leads, and has committed nothing in its term."""
        process = self._world.process(member)
        match process.member.role:
            case Leader(first_index=first_index):
                return process.member.commit_index < first_index
            case _:
                return False

    def _strand(self, chance: Random) -> Plan:
        """A leader is cut off with a long tail; its successor's snapshot ends within what that tail takes up.

        What it is sent then reaches no further than its own log, in which something else stands at that place.
        """
        world = self._world
        old = world.leader
        others = tuple(sorted(member for member, host in world.hosts.items() if member != old and not host.is_lost))
        if old is None or not others:
            return
        committed = world.process(old).member.commit_index
        yield Partition((old,), others)
        yield Interrogate(chance.choice(others), chance.uniform(0.2, 0.8) * world.settings.election_seconds)
        for _ in range(STRAND_LOOKS):
            yield STRAND_LOOK_SECONDS
            leader = world.leader
            if leader is not None and leader != old and world.process(leader).member.first_index > committed + 1:
                break
        yield Rejoin((old,), others)

    def _try_out(self, chance: Random) -> Plan:
        """On copies of a disk; see `lab.trials`."""
        member = pick(self._world, chance)
        if member is None:
            return
        match chance.choice(TRIALS):
            case "flip":
                yield TryFlip(member, chance.randrange(NEWEST_RECORDS), chance.random())
            case "power loss":
                below = chance.choice((LOG_DIRECTORY, LOG_DIRECTORY, SNAPSHOTS_DIRECTORY))
                yield TryPowerLoss(member, below, chance.random() < NAMES_SHARE, chance.getrandbits(32))
            case _:
                yield TryOldLogs(member)
