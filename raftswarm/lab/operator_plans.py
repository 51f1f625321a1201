"""What operators do to members beyond changing them, wisely or not: rolling upgrades, backups, founding twice."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    Crash,
    FoundAgain,
    KeepBackup,
    Lose,
    RestoreBackup,
    Resume,
    Start,
    StartOlder,
    Stop,
    Upgrade,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.older_version import FORMATS
from raftswarm.lab.plans import Plan, Strike, draw_seconds, draw_tearing, pick

NOTICED_WITHIN_SECONDS: Final = 5.0
"""An operator who founded a member twice sees his mistake after so long, if nobody else did."""
BETWEEN_MEMBERS_SECONDS: Final = 0.5
"""Mean time that a rolling upgrade waits before it goes on to the next member."""
BACKUP_SECONDS: Final = 4.0
"""Mean age of a backup when it is restored."""
TRIES: Final = 10
"""Until all who have to remember a member have heard from its last start."""
PROTOCOL_SHARE: Final = 0.25
"""Of upgrades after which members do not understand those before it."""


class OperatorPlans:
    """Draws from a mix."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        mix = self._mix
        yield Strike("upgrade", mix.upgrade_every, self._upgrade)
        yield Strike("older version", mix.older_version_every, self._start_older)
        yield Strike("founding again", mix.found_again_every, self._found_again, FoundAgain)
        yield Strike("backup", mix.backup_every, self._back_up, RestoreBackup)

    # Versions.

    def _upgrade(self, chance: Random) -> Plan:
        """One member after another ends and comes back as the new version; meanwhile both serve together."""
        world = self._world
        protocol = max(host.software.protocol for host in world.hosts.values())
        speaks_anew = chance.random() < PROTOCOL_SHARE
        limits = {
            "protocol": protocol + speaks_anew,
            "append_window_messages": chance.choice((1, 4, 256)),
            "append_message_bytes": chance.choice((1, 1000, 256 * 1024)),
            "uncommitted_bytes": chance.choice((512, 64 * 1024 * 1024)),
            "segment_bytes": chance.choice((1, 4096, 64 * 1024)),
            "snapshot_every_commands": chance.choice((2, 50, 10_000)),
        }
        has_leases = chance.random() < 0.5
        members = [member for member, host in world.hosts.items() if not host.is_lost]
        chance.shuffle(members)
        for member in members:
            yield Upgrade(member, **limits, has_leases=has_leases)
            yield Stop(member)
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Start(member)
            yield draw_seconds(chance, BETWEEN_MEMBERS_SECONDS)

    def _start_older(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield StartOlder(member, chance.choice(sorted(FORMATS)))
            yield draw_seconds(chance, self._mix.down_seconds)
            yield Start(member)

    # Mistakes, and what helps against others.

    def _found_again(self, chance: Random) -> Plan:
        """Its peers have to know of a later start than the first: otherwise both look the same."""
        member = pick(self._world, chance)
        if member is None:
            return
        yield Crash(member, 0, draw_tearing(chance, self._mix.power_share))
        yield draw_seconds(chance, 0.1)
        yield Start(member)
        for _ in range(TRIES):
            yield draw_seconds(chance, 0.5)
            yield FoundAgain(member)
            if self._world.hosts[member].is_set_back:
                break
        if self._world.suspect == member:
            yield NOTICED_WITHIN_SECONDS
            if self._world.suspect == member:
                yield Lose(member)

    def _back_up(self, chance: Random) -> Plan:
        """Everybody is up while it is taken; what came after it is given up later."""
        for member, host in list(self._world.hosts.items()):
            if host.process is not None and host.process.paused:
                yield Resume(member)
            elif host.process is None and not host.is_lost:
                yield Start(member)
        yield KeepBackup()
        yield draw_seconds(chance, BACKUP_SECONDS)
        yield RestoreBackup()
