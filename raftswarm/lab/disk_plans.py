"""What befalls disks and clocks."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    Crash,
    FailDisk,
    FlipBit,
    JumpWall,
    KeepCopy,
    LieOnSync,
    Lose,
    LoseName,
    MendDisk,
    Misdirect,
    Partition,
    PutBack,
    Rejoin,
    SetClockRate,
    Stall,
    Start,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import SNAPSHOTS_DIRECTORY
from raftswarm.lab.plans import Plan, Strike, draw_seconds, draw_tearing, pick

_FAILURES = (
    (errno.EIO, "write"),
    (errno.EIO, "sync"),
    (errno.EIO, "read"),
    (errno.ENOSPC, "write"),
)
NOTICED_WITHIN_SECONDS = 5.0
"""An operator who put an old copy back sees his mistake after so long, if nobody else did."""
PUT_BACK_TRIES = 10
PUT_BACK_AGAIN_SECONDS = 0.3


class DiskPlans:
    """Draws from a mix."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        mix = self._mix
        yield Strike("stall", mix.stall_every, self._stall)
        yield Strike("starve", mix.starve_every, self._starve)
        yield Strike("disk failure", mix.disk_failure_every, self._fail)
        yield Strike("lying sync", mix.lying_sync_every, self._lie_on_sync)
        yield Strike("bit flip", mix.bit_flip_every, self._flip_bit)
        yield Strike("misdirected write", mix.misdirect_every, self._misdirect)
        yield Strike("lost name", mix.lost_name_every, self._lose_name)
        yield Strike("old copy", mix.set_back_every, self._set_back, PutBack)
        yield Strike("clock rate", mix.clock_change_every, self._change_clock)
        yield Strike("wall jump", mix.wall_jump_every, self._jump_wall)

    def _stall(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield Stall(member, self._mix.stall_seconds)
            yield draw_seconds(chance, self._mix.stall_seconds)
            yield Stall(member, 0.0)

    def _starve(self, chance: Random) -> Plan:
        """Meanwhile the others go on; what it was writing and what it is sent then meet on its disk."""
        member = pick(self._world, chance)
        if member is not None:
            others = tuple(other for other in self._world.hosts if other != member)
            yield Stall(member, self._mix.stall_seconds)
            yield Partition((member,), others)
            yield draw_seconds(chance, self._mix.stall_seconds)
            yield Rejoin((member,), others)
            yield draw_seconds(chance, 0.1)
            yield Stall(member, 0.0)

    def _fail(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            code, calls = chance.choice(_FAILURES)
            yield FailDisk(member, code, calls, chance.choice(("", SNAPSHOTS_DIRECTORY)))
            yield draw_seconds(chance, self._mix.stall_seconds)
            yield MendDisk(member)

    # Permanent damage, which shows at a start if not before.

    def _lie_on_sync(self, chance: Random) -> Plan:
        """A sync fails, the process starts again on what it reads, and only a loss of power brings it to light."""
        member = pick(self._world, chance)
        if member is not None:
            yield LieOnSync(member)
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Start(member)
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Crash(member, 0, draw_tearing(chance, 1.0))
            yield Start(member)

    def _flip_bit(self, chance: Random) -> Plan:
        yield from self._damage_at_rest(chance, FlipBit)

    def _lose_name(self, chance: Random) -> Plan:
        yield from self._damage_at_rest(chance, LoseName)

    def _damage_at_rest(self, chance: Random, kind: type[FlipBit | LoseName]) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield kind(member, chance.random())
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Start(member)

    def _misdirect(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield Misdirect(member, chance.random())
            yield draw_seconds(chance, 4 * self._mix.down_seconds)
            yield Crash(member, chance.randrange(12), draw_tearing(chance, self._mix.power_share))
            yield Start(member)

    def _set_back(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is None:
            return
        yield KeepCopy(member)
        yield draw_seconds(chance, self._mix.down_seconds)
        if self._world.hosts[member].process is not None:
            yield Crash(member, 0, draw_tearing(chance, self._mix.power_share))
        yield draw_seconds(chance, 0.1)
        yield Start(member)
        yield chance.uniform(0.5, 4.0)
        for _ in range(PUT_BACK_TRIES):
            yield PutBack(member)  # Does nothing while somebody is down who would have to notice.
            if self._world.suspect == member or self._world.hosts[member].is_lost:
                break
            yield PUT_BACK_AGAIN_SECONDS
        if self._world.suspect == member:
            yield NOTICED_WITHIN_SECONDS
            if self._world.suspect == member:
                yield Lose(member)

    # Clocks.

    def _change_clock(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield SetClockRate(member, self._mix.draw_clock_rate(chance))

    def _jump_wall(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield JumpWall(member, self._mix.draw_wall_offset(chance))
