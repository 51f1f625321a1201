"""Plans of several steps that strikes drawn one by one hardly ever line up to: each was made for bugs that got by."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    ChangeMembers,
    Clog,
    Crash,
    FlipBit,
    Interrogate,
    KeepCopy,
    Partition,
    Pause,
    PutLogBack,
    Rejoin,
    Resume,
    Stall,
    Start,
    TransferLeadership,
    Unclog,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.plans import Plan, Strike, draw_seconds, draw_tearing, pick
from raftswarm.raft.roles import Leader

LOOK_EVERY_SECONDS = 0.0005
HASTY_LOOKS = 600


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
        yield Strike("worn end", self._mix.worn_end_every, self._wear_end)
        yield Strike("hasty change", self._mix.hasty_change_every, self._change_hastily)
        yield Strike("cut behind change", self._mix.cut_behind_change_every, self._cut_behind_change)
        yield Strike("old log", self._mix.old_log_every, self._put_log_back)

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

    def _wear_end(self, chance: Random) -> Plan:
        """The newest records are where damage looks like a torn end."""
        member = pick(self._world, chance)
        if member is not None:
            yield FlipBit(member, chance.random(), is_at_end=True)
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Start(member)

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
                process.member.configuration != before and process.member.commit_index == process.member.last_index
            ):
                break
        others = tuple(sorted(other for other in world.hosts if other != old))
        timeout = world.settings.election_seconds
        yield Partition((old,), others)
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

    def _put_log_back(self, chance: Random) -> Plan:
        """Somebody copies the log of a member that runs on, and puts it back beside a snapshot that is newer."""
        member = pick(self._world, chance)
        if member is None:
            return
        yield KeepCopy(member)
        yield draw_seconds(chance, self._mix.down_seconds)
        yield Crash(member, 0, draw_tearing(chance, self._mix.power_share))
        yield Start(member)
        yield chance.choice((0.1, 0.3, 0.5, 3.0))
        yield PutLogBack(member)
        yield draw_seconds(chance, self._mix.down_seconds)
        yield Start(member)
