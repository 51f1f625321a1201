"""What has to come back when faults end: first to a quorum, while the rest stays broken for good; then to all.

The core is a random quorum of every configuration in force. It elects a leader within ten election timeouts, answers
what it was asked, agrees, and serves, while each of the others is cut off, or deaf, or dumb, and whatever else it was.
Then all is healed, who is lost is replaced, all members agree on one state and take their snapshots, and every
acknowledged write is found on the disk of every member.
"""

from __future__ import annotations

from functools import partial
from random import Random

import attrs

from raftswarm.consensus.compaction import LAST_RETRY_SECONDS
from raftswarm.errors import StorageError
from raftswarm.lab import strikes
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.host import Host
from raftswarm.lab.invariants import Violation
from raftswarm.lab.member_changes import replace_lost
from raftswarm.raft.log_entry import Configuration
from raftswarm.wire.envelopes import encode_plain

CONVERGE_WITHIN_SECONDS = 30.0
FRESH_CALLS = 100
CALLS_AT_ONCE = 10
LEADER_WITHIN_TIMEOUTS = 10


def check_liveness(world: CoreWorld) -> None:
    """Heal the world step by step and require what must come back, or raise Violation; no fault strikes any more."""
    chance = world.chance("healing")
    core = heal_core(world, chance)
    patience = _patience(world)
    world.run_until(lambda: world.leader in core, within_seconds=patience, what=f"a leader among {core}")
    _serve(world, core, FRESH_CALLS)
    _answer_all(world, core)
    _agree(world, core)

    heal_all(world)
    world.run_until(lambda: world.leader is not None, within_seconds=patience, what="a leader among all")
    _settle_members(world)
    _serve(world, None, CALLS_AT_ONCE)
    _agree(world, None)
    _compact(world)
    _answer_all(world, list(world.hosts))
    scan_durability(world)


def heal_core(world: CoreWorld, chance: Random) -> list[int]:
    """Bring a random quorum of every configuration in force back in good order; break all others for good."""
    _take_away_damaged(world)
    whole = [host.member_id for host in world.hosts.values() if not host.is_lost]
    chance.shuffle(whole)
    core: list[int] = []
    for member in whole:
        # Read anew each time: who starts again may have less in its log than it had in memory.
        if all(_is_quorum(core, host.configuration) for host in world.hosts.values() if not host.is_lost):
            break
        core.append(member)
        _repair(world, world.hosts[member])
    rest = [member for member in world.hosts if member not in core]
    world.heal()
    world.calm()
    ways = [(True, True), (False, True)]
    if world.faults.settings.pre_vote:
        ways.append((True, False))  # Without pre-votes it would campaign for ever, and whoever hears that votes (9.6).
    for outsider in rest:
        deaf, dumb = chance.choice(ways)
        for member in core:
            if deaf:
                world.network.cut(member, outsider)
            if dumb:
                world.network.cut(outsider, member)
    world.tell(f"healed {core}; {rest} stay broken")
    return core


def heal_all(world: CoreWorld) -> None:
    """Bring everybody back who is not lost."""
    _take_away_damaged(world)
    world.heal()
    world.calm()
    for host in list(world.hosts.values()):
        if not host.is_lost:
            _repair(world, host)


def scan_durability(world: CoreWorld) -> None:
    """Look for every acknowledged write on the disk of every member, as it would be after a loss of power."""
    committed = world.invariants.committed
    members = world.configuration.member_ids
    acknowledged = world.history.acknowledged_index
    world.run_until(
        lambda: all(world.invariants.durable(member).log.last_index >= acknowledged for member in members),
        within_seconds=CONVERGE_WITHIN_SECONDS,
        what="a sync of what was acknowledged on every disk",
    )
    for member in members:
        try:
            recovered = world.hosts[member].recover_copy()
        except StorageError as refusal:
            raise Violation(f"7: the disk of {member} cannot be read back: {refusal}") from refusal
        last = max(recovered.snapshot.index, recovered.entries[-1].index if recovered.entries else 0)
        if last < acknowledged:
            raise Violation(f"7: the disk of {member} ends at {last}, and {acknowledged} was acknowledged")
        for entry in recovered.entries:
            if entry.index in committed and committed[entry.index] != entry:
                raise Violation(f"7: the disk of {member} holds another entry at {entry.index} than was committed")


def _take_away_damaged(world: CoreWorld) -> None:
    """No operator would trust such a disk any more."""
    for host in world.hosts.values():
        if host.is_damaged and not host.is_lost:
            world.lose(host.member_id)


def _patience(world: CoreWorld) -> float:
    slowest = min(host.clock.rate for host in world.hosts.values())
    return LEADER_WITHIN_TIMEOUTS * world.settings.election_seconds / slowest


def _repair(world: CoreWorld, host: Host) -> None:
    host.calm()
    _end_upgrade(world, host)
    if host.process is None:
        world.start(host.member_id)
    elif host.process.paused:
        world.resume(host.member_id)


def _end_upgrade(world: CoreWorld, host: Host) -> None:
    """Let it speak the newest protocol, as all others will; a process has to end for that."""
    newest = max(other.software.protocol for other in world.hosts.values())
    host.software = attrs.evolve(host.software, protocol=newest)
    if host.process is not None and host.process.protocol != newest:
        world.stop(host.member_id)


def _is_quorum(members: list[int], configuration: Configuration) -> bool:
    return all(
        2 * sum(info.id in members for info in voters) > len(voters)
        for voters in (configuration.voters, configuration.outgoing)
        if voters
    )


def _serve(world: CoreWorld, core: list[int] | None, count: int) -> None:
    """Writes and reads succeed, several at once, with the leader that is there; it may still change hands."""
    left = count
    until = world.now + CONVERGE_WITHIN_SECONDS
    command = encode_plain(b"fresh") if world.has_sessions else b"fresh"
    while left:
        leader = world.leader
        member = leader if leader is not None and (core is None or leader in core) else (core or [*world.hosts])[0]
        calls = [
            world.propose(command, member=member) if number % 2 else world.read(member=member)
            for number in range(min(left, CALLS_AT_ONCE))
        ]
        for call in calls:
            world.run_until(
                lambda call=call: call.ended_at is not None,  # type: ignore[misc]
                within_seconds=until - world.now,
                what=f"an answer to call {call.number}",
            )
        acknowledged = sum(call.acknowledged for call in calls)
        left -= acknowledged
        if acknowledged < len(calls):
            world.run_for(0.05)


def _answer_all(world: CoreWorld, members: list[int]) -> None:
    calls = [call for member in members for call in world.history.pending_at(member)]
    world.run_until(
        lambda: all(call.ended_at is not None for call in calls),
        within_seconds=CONVERGE_WITHIN_SECONDS,
        what=f"an end of every call to {members}",
    )


def _settle_members(world: CoreWorld) -> None:
    """Who is lost is replaced, learners get the vote they were promised, and what is joint is left."""
    until = world.now + CONVERGE_WITHIN_SECONDS
    while not _is_settled(world):
        if world.now > until:
            raise Violation(f"changes of the members did not end within {CONVERGE_WITHIN_SECONDS:g} s")
        for fault in replace_lost(world):
            strikes.strike(world, fault)
        now = world.configuration
        if now.is_joint and not now.auto_leave and world.leader is not None:
            world.leave_joint()
        world.run_for(0.1)


def _is_settled(world: CoreWorld) -> bool:
    now = world.configuration
    is_whole = not any(world.hosts[member].is_lost for member in now.member_ids)
    return is_whole and not now.is_joint and not any(info.promote for info in now.learners)


def _agree(world: CoreWorld, members: list[int] | None) -> None:
    of_whom = "all members" if members is None else f"{members}"
    world.run_until(
        lambda: _has_converged(world, members), within_seconds=CONVERGE_WITHIN_SECONDS, what=f"agreement of {of_whom}"
    )


def _compact(world: CoreWorld) -> None:
    """Snapshots are taken as the policy says, whatever the disk would not have before."""
    if world.faults.huge_share:
        return  # Of a large state they are taken less often.
    slowest = min(host.clock.rate for host in world.hosts.values())
    for member in world.configuration.member_ids:
        world.run_until(
            partial(_has_new_snapshot, world, member),
            within_seconds=2 * LAST_RETRY_SECONDS / slowest,
            what=f"a snapshot of member {member}",
        )


def _has_new_snapshot(world: CoreWorld, member: int) -> bool:
    every_commands = world.hosts[member].software.compaction.snapshot_every_commands
    applied, snapshot = world.process(member).replica.applied, world.invariants.durable(member).snapshot
    return applied.commands - snapshot.commands < every_commands


def _has_converged(world: CoreWorld, members: list[int] | None) -> bool:
    """All of these, or all of the configuration, have applied everything, acknowledged or not."""
    leader = world.leader
    if leader is None:
        return False
    applied = world.process(leader).replica.applied
    if applied.index < world.invariants.last_committed or applied.commands < world.history.last_acknowledged_command:
        return False
    listed = world.hosts[leader].configuration.member_ids
    processes = [world.hosts[member].process for member in listed if members is None or member in members]
    return all(process is not None and process.replica.applied.index == applied.index for process in processes)
