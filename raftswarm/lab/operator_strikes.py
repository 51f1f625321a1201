"""Makes happen what operators do to members beyond changing them: other versions, backups, founding twice.

What the engine promises, and so what is asked of it: a version that is too old for a disk refuses it and touches
nothing; members with other limits, or that are not on speaking terms, do no harm; a member that was founded again is
found out by any that remembers it (docs/raft.md, "Openings"); and a backup of all members, taken at one moment, is a
cluster that goes on from that moment, if all of them are set back to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from raftswarm.errors import ForeignState, StorageError
from raftswarm.lab.fault_events import FoundAgain, KeepBackup, RestoreBackup, StartOlder, Upgrade
from raftswarm.lab.history import Remembered
from raftswarm.lab.host import Host, Software
from raftswarm.lab.invariants import Memory, Violation
from raftswarm.lab.older_version import FORMATS, older_version
from raftswarm.lab.setting_back import may_found_again, start_set_back
from raftswarm.raft.log_entry import Configuration
from raftswarm.storage.files import read_file
from raftswarm.world.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from raftswarm.lab.core_world import CoreWorld

OperatorFault = Upgrade | StartOlder | FoundAgain | KeepBackup | RestoreBackup


@attrs.frozen
class Backup:
    """All members at one moment, and what the world knew then."""

    disks: dict[int, tuple[int, Configuration, SimulatedDisk]]
    """By member: of which boot, with which members, and the copy."""
    invariants: Memory
    history: Remembered
    effects: Mapping[bytes, tuple[int, int]]


def strike_operator(world: CoreWorld, fault: OperatorFault) -> bool:
    """Let it strike; False, and nothing changed, if it does not fit the moment."""
    match fault:
        case KeepBackup():
            return _keep_backup(world)
        case RestoreBackup():
            return _restore_backup(world)
        case _:
            host = world.hosts.get(fault.member)
            if host is None or host.is_lost or world.suspect not in {None, fault.member}:
                return False
    match fault:
        case Upgrade():
            return _upgrade(world, host, fault)
        case StartOlder():
            return _start_older(world, host, fault)
        case _:
            return _found_again(world, host)


# Versions.


def _upgrade(world: CoreWorld, host: Host, fault: Upgrade) -> bool:
    """Leases count on clocks that go: who sleeps now must not find them switched on."""
    if fault.has_leases and any(other.clock.stands for other in world.hosts.values()):
        return False
    before = host.software
    host.software = Software(
        settings=attrs.evolve(
            before.settings,
            append_window_messages=fault.append_window_messages,
            append_message_bytes=fault.append_message_bytes,
            uncommitted_bytes=fault.uncommitted_bytes,
            lease_reads=before.settings.lease_reads or fault.has_leases,
        ),
        compaction=attrs.evolve(before.compaction, snapshot_every_commands=fault.snapshot_every_commands),
        segment_bytes=fault.segment_bytes,
        protocol=fault.protocol,
    )
    return before != host.software


def _start_older(world: CoreWorld, host: Host, fault: StartOlder) -> bool:
    """What it would find is the same on a copy, which shows whether it is left as it is."""
    if host.is_damaged or not host.disk.is_sound or fault.format not in FORMATS:
        return False
    if fault.format == "snapshots" and not world.invariants.durable(host.member_id).snapshot.index:
        return False  # Nothing there is too new.
    if host.process is not None:
        world.stop(host.member_id)
    disk = host.disk.copy()
    found = _read_all(disk)
    with older_version(fault.format):
        try:
            host.recover(disk)
        except ForeignState as refusal:
            world.tell(f"an older version of {host.member_id} refuses: {refusal}")
        except StorageError as refusal:
            raise Violation(f"19: an older version takes the disk of {host.member_id} for damaged: {refusal}") from None
        else:
            raise Violation(f"19: a version that does not know its {fault.format} runs member {host.member_id}")
    if _read_all(disk) != found:
        raise Violation(f"19: an older version has changed the disk of {host.member_id}, which it cannot read")
    return True


def _read_all(disk: SimulatedDisk) -> dict[str, bytes]:
    return {path: read_file(disk, path) for path in disk.sizes("")}


# Founding twice.


def _found_again(world: CoreWorld, host: Host) -> bool:
    """A first start cannot be told from another first start by its number alone: only later ones count."""
    process = host.process
    if process is None or process.boot == 1 or host.founded_with is None:
        return False
    if not may_found_again(world, host, process.boot, host.founded_with):
        return False
    world.crash(host.member_id)
    host.disk.put_back(host.found_anew())
    start_set_back(world, host)
    return True


# Backups.


def _keep_backup(world: CoreWorld) -> bool:
    hosts = {member: host for member, host in sorted(world.hosts.items()) if not host.is_lost}
    if not all(host.process and host.disk.is_sound and not host.is_damaged for host in hosts.values()):
        return False
    world.backup = Backup(
        disks={member: (host.boot, host.configuration, host.disk.copy()) for member, host in hosts.items()},
        invariants=world.invariants.remember(),
        history=world.history.remember(),
        effects=world.effects.remember(),
    )
    return True


def _restore_backup(world: CoreWorld) -> bool:
    """Machines that came later belong to what is given up, and are taken away."""
    backup = world.backup
    if backup is None or world.suspect is not None:
        return False
    if any(world.hosts[member].is_lost or world.hosts[member].is_damaged for member in backup.disks):
        return False
    for member, host in world.hosts.items():
        if host.process is not None:
            world.crash(member, disk_calls=0)
    world.restored += 1
    world.invariants.go_back(backup.invariants)
    world.history.go_back(backup.history)
    world.effects.go_back(backup.effects)
    for member, host in world.hosts.items():
        if member in backup.disks:
            host.boot, host.configuration, disk = backup.disks[member]
            host.copy = None
            host.disk.put_back(disk)
        elif not host.is_lost:
            world.lose(member)
    for member in backup.disks:
        world.try_to_start(member)
    return True
