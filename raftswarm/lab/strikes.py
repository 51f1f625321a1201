"""Makes faults happen: what each kind of fault does to a world, and when it does not fit the moment.

Permanent damage strikes only where the cluster has to survive it: in every configuration in force a majority of the
voters stays whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import msgspec

from raftswarm.lab.fault_events import (
    NO_POWER_LOSS,
    AddMachine,
    ChangeMembers,
    Clog,
    Crash,
    CrashInTurn,
    Cut,
    FailDisk,
    Fault,
    FlipBit,
    FoundAgain,
    HalfOpen,
    Interrogate,
    JumpWall,
    KeepBackup,
    KeepCopy,
    LeaveJoint,
    LieOnSync,
    Lose,
    LoseName,
    Mend,
    MendDisk,
    Misdirect,
    Nonsense,
    Partition,
    Pause,
    PutBack,
    Reconnect,
    Rejoin,
    RestoreBackup,
    Resume,
    SetClockRate,
    SetLink,
    SlowDown,
    Stall,
    Start,
    StartAndCrash,
    StartOlder,
    Stop,
    TransferLeadership,
    TryFlip,
    TryOldLogs,
    TryPowerLoss,
    Unclog,
    Upgrade,
)
from raftswarm.lab.host import LOG_DIRECTORY, RAFT_DIRECTORY, Host
from raftswarm.lab.member_process import DeathInTurn
from raftswarm.lab.network import SimulatedNetwork
from raftswarm.lab.nonsense import make_nonsense
from raftswarm.lab.operator_strikes import strike_operator
from raftswarm.lab.setting_back import may_set_back, note_who_remembers, start_set_back
from raftswarm.lab.trials import try_out
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.wire.envelopes import encode_plain
from raftswarm.world.simulated_disk import FailingCalls

if TYPE_CHECKING:
    from raftswarm.lab.core_world import CoreWorld

QUESTION_EVERY_SECONDS = 0.02


def strike(world: CoreWorld, fault: Fault) -> bool:
    """Let it strike; False, and nothing changed, if it does not fit the moment."""
    match fault:
        case Upgrade() | StartOlder() | FoundAgain() | KeepBackup() | RestoreBackup():
            struck = strike_operator(world, fault)
        case AddMachine(member):
            struck = _add_machine(world, member)
        case ChangeMembers():
            struck = _change_members(world, fault)
        case LeaveJoint():
            struck = _leave_joint(world)
        case Nonsense(sender, receiver, what):
            struck = _talk_nonsense(world, sender, receiver, what)
        case Partition() | Rejoin():
            struck = _strike_groups(world.network, fault)
        case TryFlip() | TryPowerLoss() | TryOldLogs():
            struck = fault.member in world.hosts and try_out(world.hosts[fault.member], fault)
        case Cut() | Mend() | Clog() | Unclog() | HalfOpen() | Reconnect() | SetLink():
            is_link = fault.sender in world.hosts and fault.receiver in world.hosts and fault.sender != fault.receiver
            struck = is_link and _strike_link(world.network, fault)
        case _:
            host = world.hosts.get(fault.member)
            is_safe = host is not None and not host.is_lost and world.suspect in {None, fault.member}
            struck = is_safe and host is not None and _strike_machine(world, host, fault)
    return struck


def _strike_machine(world: CoreWorld, host: Host, fault: Fault) -> bool:
    struck = True
    match fault:
        case Start():
            struck = host.process is None
            if struck:
                world.try_to_start(host.member_id)
        case StartAndCrash():
            struck = _start_and_crash(world, host, fault)
        case SlowDown(turn_seconds=seconds):
            host.turn_seconds = seconds
        case Stall(seconds=seconds):
            host.stall_seconds = seconds
        case FailDisk():
            error = OSError(fault.code, "the disk fails, as it was asked to")
            host.disk.fail_from_now(error, fault.below, calls=FailingCalls(fault.calls), is_lasting=True)
        case MendDisk():
            struck = not host.disk.is_sound
            host.disk.end_failure()
        case SetClockRate(rate=rate):
            struck = _set_clock_rate(world, host, rate)
        case JumpWall(seconds=seconds):
            host.clock.wall_offset_seconds += seconds
        case Lose():
            struck = _lose(world, host)
        case _:
            struck = host.process is not None and _strike_process(world, host, fault)
    return struck


def _strike_process(world: CoreWorld, host: Host, fault: Fault) -> bool:
    """What befalls only who runs."""
    member = host.member_id
    process = world.process(member)
    match fault:
        case Crash():
            _crash(world, member, fault.disk_calls, fault.tearing)
        case CrashInTurn(messages=messages, tearing=tearing):
            process.death = DeathInTurn(messages, _tearing(tearing))
        case Stop():
            world.stop(member)
        case Pause(clock_stands=clock_stands):
            # A lease counts on a clock that goes on while its leader sleeps.
            if process.paused or (clock_stands and world.has_leases):
                return False
            world.pause(member)
            if clock_stands:
                host.clock.stand()
        case Resume():
            if not process.paused:
                return False
            world.resume(member)
        case TransferLeadership(to=to):
            world.transfer_leadership(to, member=member)
        case Interrogate(seconds=seconds):
            _interrogate(world, member, world.now + seconds)
        case KeepCopy():
            host.copy = (process.boot, process.member.configuration, host.disk.copy())
        case _:
            return _damage(world, host, fault)
    return True


def _crash(world: CoreWorld, member: int, disk_calls: int, tearing: int) -> None:
    world.crash(member, power_lost=tearing != NO_POWER_LOSS, disk_calls=disk_calls, tearing=_tearing(tearing))


def _tearing(seed: int) -> Random | None:
    return None if seed == NO_POWER_LOSS else Random(seed)  # noqa: S311 - a simulation has to be repeatable


def _start_and_crash(world: CoreWorld, host: Host, fault: StartAndCrash) -> bool:
    if host.process is not None or host.is_damaged:
        return False
    world.start_and_crash(
        host.member_id,
        fault.disk_calls,
        power_lost=fault.tearing != NO_POWER_LOSS,
        tearing=_tearing(fault.tearing),
    )
    return True


def _set_clock_rate(world: CoreWorld, host: Host, rate: float) -> bool:
    """Leases count on clocks no worse than the settings say; the mix's own rates keep to that."""
    if not world.faults.allows_clock_rate(rate):
        return False
    host.clock.run_at(rate)
    if host.process is not None:
        host.process.wake()  # What is due is due at another moment.
    return True


# Permanent damage.


def _lose(world: CoreWorld, host: Host) -> bool:
    if not host.is_damaged and not world.may_lose(host.member_id):
        return False
    world.lose(host.member_id)
    return True


def _damage(world: CoreWorld, host: Host, fault: Fault) -> bool:
    if host.is_damaged or not world.may_lose(host.member_id):
        return False
    disk = host.disk
    match fault:
        case LieOnSync():
            disk.lie_on_sync()
        case Misdirect(place=place):
            disk.misdirect(LOG_DIRECTORY, place)
        case FlipBit(place=place):
            world.crash(host.member_id)
            _flip_bit(host, place)
        case LoseName(place=place):
            world.crash(host.member_id)
            paths = list(disk.sizes(RAFT_DIRECTORY))
            disk.lose_name(paths[int(place * len(paths))])
            host.lacks_files = True
        case PutBack():
            return _put_back(world, host)
        case _:
            raise AssertionError(f"nobody knows what {fault} does")
    host.is_damaged = True
    host.is_damaged_at_rest = isinstance(fault, (FlipBit, LoseName))
    return True


def _flip_bit(host: Host, place: float) -> None:
    """Every file is as likely: the newest of the log is short."""
    sizes = [(path, size) for path, size in host.disk.sizes(RAFT_DIRECTORY).items() if size]
    where = place * len(sizes)
    path, size = sizes[int(where)]
    bit = int((where - int(where)) * 8 * size)
    host.disk.flip_bit(path, bit // 8, bit % 8)


def _put_back(world: CoreWorld, host: Host) -> bool:
    """Start on an old copy, if it is from before this boot and all other voters remember this one."""
    boot = world.process(host.member_id).boot
    if host.copy is None or host.copy[0] >= boot:
        return False
    _, configuration, disk = host.copy
    if not may_set_back(world, host, boot, configuration):
        return False
    note_who_remembers(world, host, configuration)
    world.crash(host.member_id)
    host.disk.put_back(disk)
    start_set_back(world, host)
    return True


# Links.


_LinkFault = Cut | Mend | Clog | Unclog | HalfOpen | Reconnect | SetLink


def _strike_link(network: SimulatedNetwork, fault: _LinkFault) -> bool:
    sender, receiver = fault.sender, fault.receiver
    match fault:
        case Cut():
            struck = network.cut(sender, receiver)
        case Mend():
            struck = network.mend(sender, receiver)
        case Clog():
            struck = network.clog(sender, receiver)
        case Unclog():
            struck = network.unclog(sender, receiver)
        case HalfOpen():
            struck = network.half_open(sender, receiver)
        case Reconnect():
            struck = network.reconnect(sender, receiver)
        case _:
            struck = network.set_link(sender, receiver, fault.conditions)
    return struck


def _strike_groups(network: SimulatedNetwork, fault: Partition | Rejoin) -> bool:
    ways = [(one, other) for one in fault.one for other in fault.other if one != other]
    back = [(other, one) for one, other in ways]
    struck = False
    match fault:
        case Partition(is_one_way=is_one_way):
            for sender, receiver in ways if is_one_way else ways + back:
                struck |= network.cut(sender, receiver)
        case Rejoin():
            for sender, receiver in ways + back:
                struck |= network.mend(sender, receiver)
    return struck


def _talk_nonsense(world: CoreWorld, sender: int, receiver: int, what: str) -> bool:
    """Let it arrive where nothing else waits to be taken in: what comes before it might make it true."""
    host = world.hosts.get(receiver)
    process = None if host is None else host.process
    if sender not in world.hosts or sender == receiver or process is None or not process.is_at_rest:
        return False
    message = make_nonsense(what, process.member, sender)
    if message is None:
        return False
    process.received(message)
    return True


# The operator.


def _add_machine(world: CoreWorld, member: int) -> bool:
    if member in world.hosts or member < 1:
        return False
    world.build_host(member, Configuration())
    world.start(member)
    return True


def _change_members(world: CoreWorld, fault: ChangeMembers) -> bool:
    asked = fault.member or world.leader  # Who has just won may not be announced yet.
    is_known = {*fault.voters, *fault.learners, asked} <= {*world.hosts}
    if asked is None or not is_known:
        return False
    gone = {member for member, host in world.hosts.items() if host.is_lost or host.is_damaged}
    for voters in ({*fault.voters}, {*fault.voters, *(gone & {*fault.promised})}):
        if 2 * len(voters & gone) >= len(voters) > 0:
            return False  # With a majority of them gone, nobody could ever lead again.
    listed = world.list_members(fault.voters, learners=fault.learners)
    wished = msgspec.structs.replace(
        listed, voters=_promise(listed.voters, fault.promised), learners=_promise(listed.learners, fault.promised)
    )
    world.change_members(wished, member=fault.member or None, transition=fault.transition)
    return True


def _promise(infos: Iterable[MemberInfo], promised: Collection[int]) -> tuple[MemberInfo, ...]:
    return tuple(msgspec.structs.replace(info, promote=info.id in promised) for info in infos)


def _leave_joint(world: CoreWorld) -> bool:
    leader = world.leader
    if leader is None or not world.hosts[leader].configuration.is_joint:
        return False
    world.leave_joint()
    return True


def _interrogate(world: CoreWorld, member: int, until: float) -> None:
    """Read at a leader that may be deposed, and write at its successor, again and again."""
    if world.now > until:
        return
    world.read(member=member)
    if world.leader not in {None, member}:
        world.propose(encode_plain(b"") if world.has_sessions else b"")
    world.heap.after(QUESTION_EVERY_SECONDS, partial(_interrogate, world, member, until))
