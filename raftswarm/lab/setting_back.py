"""When a member may be set back, so that its peers have to notice, and what the world expects from then on.

A disk that is set back is noticed only by peers that remember more (docs/raft.md, "Openings"), so it befalls a member
only while all of them do that it would ask, and until it is noticed nothing makes them forget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.log_entry import Configuration

if TYPE_CHECKING:
    from raftswarm.lab.core_world import CoreWorld
    from raftswarm.lab.host import Host


def may_set_back(world: CoreWorld, host: Host, boot: int, configuration: Configuration) -> bool:
    """Tell whether all other voters know of that boot, and are those of the configuration it would be set back to.

    Who was removed long ago, or is lost, decides nothing any more.
    """
    left = [other for other in world.hosts.values() if not other.is_lost]
    if host.is_damaged or not world.may_lose(host.member_id) or not all(map(_is_sound, left)):
        return False
    others = {info.id for info in (*configuration.voters, *configuration.outgoing)} - {host.member_id}
    if not others or not all(_has_same_voters(world.hosts[one], configuration) for one in configuration.member_ids):
        return False
    return all(_remembers(world.hosts[other], host.member_id, boot) for other in others)


def note_who_remembers(world: CoreWorld, host: Host, configuration: Configuration) -> None:
    """Put down which of the others know its last start, to whom nothing may seem whole afterwards."""
    start = world.process(host.member_id).member.start
    others = {info.id for info in (*configuration.voters, *configuration.outgoing)} - {host.member_id}
    host.remembered_by = tuple(
        other for other in sorted(others) if world.process(other).member.knows_start(host.member_id, start)
    )


def may_found_again(world: CoreWorld, host: Host, boot: int, founders: Configuration) -> bool:
    """Tell whether all other founders know of that boot: a majority of them would have to find it in order."""
    if host.is_damaged or not world.may_lose(host.member_id):
        return False
    others = [world.hosts[info.id] for info in founders.voters if info.id != host.member_id]
    left = [other for other in others if not other.is_lost]
    return bool(left) and all(_is_sound(other) and _remembers(other, host.member_id, boot) for other in left)


def start_set_back(world: CoreWorld, host: Host) -> None:
    """Start it on what it was set back to: somebody has to notice."""
    host.is_damaged = host.is_set_back = True
    world.suspect = host.member_id
    world.start(host.member_id)


def _is_sound(host: Host) -> bool:
    """Tell whether nothing that waits to befall it can make it forget."""
    return host.disk.is_sound and not host.is_lost and (host.process is None or host.process.death is None)


def _has_same_voters(host: Host, configuration: Configuration) -> bool:
    now = host.configuration
    return not now.voters or (now.voters, now.outgoing) == (configuration.voters, configuration.outgoing)


def _remembers(host: Host, member: int, boot: int) -> bool:
    return host.process is not None and host.process.member.known_boot(member) == boot
