"""Brings a fault mix over a world, and clients with it; ends with the healing that liveness needs."""

from __future__ import annotations

import errno
from collections.abc import Callable

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.host import SNAPSHOTS_DIRECTORY
from raftswarm.lab.journal import REFUSED
from raftswarm.lab.member_changes import MemberChanges
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.roles import Leader, Transfer

MAX_RECOVERY_CALLS = 40
QUESTION_TIMEOUTS = 2
"""For so many election timeouts clients ask who was deposed: it may lead on for one, by its own clock."""
QUESTION_EVERY_SECONDS = 0.02
LOOK_EVERY_SECONDS = 0.0005
"""Less than it takes to be elected."""


class Nemesis:
    """Plans every fault of its mix at random times until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        self._world = world
        self._mix = world.faults
        self._chance = world.chance("nemesis")
        self._active = True
        self.strikes = 0
        mix = self._mix
        for every, strike in (
            (mix.crash_every, self._crash),
            (mix.all_crash_every, self._crash_all),
            (mix.stop_every, self._stop),
            (mix.pause_every, self._pause),
            (mix.partition_every, self._partition),
            (mix.stall_every, self._stall),
            (mix.disk_failure_every, self._fail_disk),
            (mix.transfer_every, self._transfer),
            (mix.change_every, MemberChanges(world, self._chance).strike),
            (mix.usurp_every, self._usurp),
            (mix.call_every, self._call),
            (2 * mix.down_seconds, self._start),
        ):
            if every:
                self._plan(every, strike)

    def _plan(self, every: float, strike: Callable[[], None]) -> None:
        self._world.heap.after(self._chance.expovariate(1.0 / every), self._strike, every, strike)

    def _strike(self, every: float, strike: Callable[[], None]) -> None:
        if self._active:
            self.strikes += 1
            strike()
            self._plan(every, strike)

    # Clients.

    def _call(self) -> None:
        world = self._world
        # Whoever believes to lead is asked, deposed leaders too.
        members = [member for member in world.running if world.process(member).leadership.is_leader]
        if not members or self._chance.random() < 0.1:
            members = list(world.hosts)
        member = self._chance.choice(members)
        kind = self._chance.random()
        if kind < 0.2:
            # Anybody may be read at; a leader that slept, or was cut off, is the one to fall for it.
            world.read(member=self._chance.choice([member, self._chance.choice(list(world.hosts))]))
        elif kind < 0.25:
            world.propose(REFUSED, member=member)
        else:
            for _ in range(self._chance.choice((1, 1, 1, 5))):
                world.propose(bytes(self._chance.choice((0, 10, 100, 1000))), member=member)

    # Faults.

    def _pick(self) -> int | None:
        """Pick somebody who runs; leaders are the most interesting victims."""
        running = self._world.running
        leader = self._world.leader
        if leader is not None and self._chance.random() < 0.3:
            return leader
        return self._chance.choice(running) if running else None

    def _crash(self) -> None:
        member = self._pick()
        if member is not None:
            self._crash_for_a_while(member, self._chance.expovariate(1.0 / self._mix.down_seconds))

    def _crash_for_a_while(self, member: int, down_seconds: float) -> None:
        self._world.crash(member, power_lost=self._chance.random() < self._mix.power_share)
        self._world.heap.after(down_seconds, self._start)

    def _crash_all(self) -> None:
        for member in self._world.running:
            self._crash_for_a_while(member, self._chance.expovariate(1.0 / self._mix.down_seconds))

    def _start(self) -> None:
        """Start somebody who is down; which one matters little."""
        world = self._world
        down = [member for member, host in world.hosts.items() if host.process is None]
        if not self._active or not down:
            return
        member = self._chance.choice(down)
        if self._chance.random() < self._mix.recovery_crash_share:
            calls = self._chance.randrange(MAX_RECOVERY_CALLS)
            world.start_and_crash(member, calls, power_lost=self._chance.random() < self._mix.power_share)
            world.heap.after(self._mix.down_seconds, self._start)
        else:
            world.start(member)

    def _stop(self) -> None:
        member = self._pick()
        if member is not None:
            self._world.stop(member)
            self._world.heap.after(self._chance.expovariate(1.0 / self._mix.down_seconds), self._start)

    def _pause(self) -> None:
        member = self._pick()
        if member is not None:
            self._world.pause(member)
            self._world.heap.after(self._chance.expovariate(1.0 / self._mix.pause_seconds), self._resume, member)

    def _resume(self, member: int) -> None:
        process = self._world.hosts[member].process
        if process is not None and process.paused:
            self._world.resume(member)

    def _partition(self) -> None:
        world = self._world
        members = sorted(world.hosts)
        self._chance.shuffle(members)
        leader = world.leader
        if leader is not None and self._chance.random() < 0.5:
            # A leader alone, or with too few: what it appends now must be forgotten later.
            members.remove(leader)
            members.insert(0, leader)
            cut = self._chance.randint(1, (len(members) + 1) // 2)
        else:
            cut = self._chance.randint(0, len(members))
        one, other = members[:cut], members[cut:]
        if self._chance.random() < self._mix.one_way_share:
            for sender in one:
                for receiver in other:
                    world.network.cut(sender, receiver)
        else:
            world.partition(one, other)
        world.heap.after(self._chance.expovariate(1.0 / self._mix.partition_seconds), self._heal)

    def _heal(self) -> None:
        if self._active:
            self._world.heal()
            if self._chance.random() < 0.3:
                self._partition()  # Another one at once: who was alone may now meet who has not heard the leader since.

    def _stall(self) -> None:
        member = self._pick()
        if member is not None:
            self._world.hosts[member].stall_seconds = self._mix.stall_seconds
            self._world.heap.after(self._mix.stall_seconds, self._end_stall, member)

    def _end_stall(self, member: int) -> None:
        self._world.hosts[member].stall_seconds = 0.0

    def _fail_disk(self) -> None:
        member = self._pick()
        if member is not None:
            code, text = self._chance.choice(((errno.EIO, "input/output error"), (errno.ENOSPC, "no space left")))
            self._world.fail_disk(member, OSError(code, text), below=self._chance.choice(("", SNAPSHOTS_DIRECTORY)))

    def _transfer(self) -> None:
        self._world.transfer_leadership(self._chance.choice([0, *self._world.hosts]))

    def _usurp(self) -> None:
        """Have a leader replaced that cannot hear of it: nobody falls for old reads more easily."""
        world = self._world
        old = world.leader
        others = [member for member in world.hosts if member != old]
        if old is None or not others:
            return
        until = world.now + QUESTION_TIMEOUTS * world.settings.election_seconds
        if self._chance.random() < 0.7:
            world.transfer_leadership(member=old)
            self._deafen_when_told(old, others, until)
        else:
            world.isolate(old)
        self._question(old, until)
        world.heap.after(self._chance.expovariate(1.0 / self._mix.partition_seconds), self._heal)

    def _deafen_when_told(self, old: int, others: list[int], until: float) -> None:
        """Let a leader hear nobody any more as soon as it has told its heir to campaign."""
        world = self._world
        process = world.hosts[old].process
        if not self._active or world.now > until or process is None:
            return
        match process.member.role:
            case Leader(transfer=Transfer(is_told=True)):
                for other in others:
                    world.network.cut(other, old)
            case _:
                world.heap.after(LOOK_EVERY_SECONDS, self._deafen_when_told, old, others, until)

    def _question(self, old: int, until: float) -> None:
        """Read at a leader that may be deposed, and write at its successor, again and again."""
        world = self._world
        if not self._active or world.now > until:
            return
        world.read(member=old)
        if world.leader not in {None, old}:
            world.propose(b"")
        world.heap.after(QUESTION_EVERY_SECONDS, self._question, old, until)

    # The end.

    def stop(self) -> None:
        """Do nothing more; what is broken stays broken."""
        self._active = False

    def heal_core(self) -> list[int]:
        """Bring a random quorum of every configuration in force back in good order; cut off all others for good."""
        world = self._world
        members = sorted(world.hosts)
        self._chance.shuffle(members)
        core: list[int] = []
        for member in members:
            # Read anew each time: who starts again may have less in its log than it had in memory.
            if all(_is_quorum(core, host.configuration) for host in world.hosts.values()):
                break
            core.append(member)
            self._repair([member])
        world.heal()
        world.partition(core, [member for member in members if member not in core])
        return core

    def heal_all(self) -> None:
        """Bring everybody back."""
        self._world.heal()
        self._repair(sorted(self._world.hosts))

    def _repair(self, members: list[int]) -> None:
        world = self._world
        world.calm()
        for member in members:
            host = world.hosts[member]
            host.stall_seconds = 0.0
            host.disk.end_failure()
            if host.process is None:
                world.start(member)
            elif host.process.paused:
                world.resume(member)


def _is_quorum(members: list[int], configuration: Configuration) -> bool:
    return all(
        2 * sum(info.id in members for info in voters) > len(voters)
        for voters in (configuration.voters, configuration.outgoing)
        if voters
    )
