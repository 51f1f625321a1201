"""What befalls processes and their machines: crashes anywhere, pauses, slowness, loss."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    Crash,
    CrashInTurn,
    Lose,
    Pause,
    Resume,
    SlowDown,
    Start,
    StartAndCrash,
    Stop,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.plans import Plan, Strike, draw_seconds, draw_tearing, pick

MAX_CALLS_OF_A_JOB = 12
MAX_CALLS_OF_A_RECOVERY = 40
MAX_MESSAGES_OF_A_TURN = 5
STORM_CRASHES = 8
SNAPSHOT_WITHIN_SECONDS = 3.0
LOOK_EVERY_SECONDS = 0.002


def _draw_calls(chance: Random) -> int:
    """Draw how far a disk job gets: most have few calls, and between a write and its sync is the best place to die."""
    return int(MAX_CALLS_OF_A_JOB * chance.random() ** 2)


class ProcessPlans:
    """Draws from a mix."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        mix = self._mix
        yield Strike("crash", mix.crash_every, self._crash)
        yield Strike("crash all", mix.all_crash_every, self._crash_all)
        yield Strike("storm", mix.storm_every, self._storm)
        yield Strike("receiver crash", mix.receiver_crash_every, self._crash_receiver)
        yield Strike("stop", mix.stop_every, self._stop)
        yield Strike("pause", mix.pause_every, self._pause)
        yield Strike("slow", mix.slow_every, self._slow)
        yield Strike("lose", mix.lose_every, self._lose)
        yield Strike("start", 2 * mix.down_seconds, self._start_somebody)

    def _crash(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield from self._crash_for_a_while(chance, member)

    def _crash_for_a_while(self, chance: Random, member: int) -> Plan:
        tearing = draw_tearing(chance, self._mix.power_share)
        if chance.random() < self._mix.turn_crash_share:
            yield CrashInTurn(member, chance.randint(1, MAX_MESSAGES_OF_A_TURN), tearing)
        else:
            yield Crash(member, _draw_calls(chance), tearing)
        yield draw_seconds(chance, self._mix.down_seconds)
        yield from self._start(chance, member)

    def _crash_all(self, chance: Random) -> Plan:
        for member in self._world.running:
            yield Crash(member, _draw_calls(chance), draw_tearing(chance, self._mix.power_share))
        yield draw_seconds(chance, self._mix.down_seconds)
        for member in list(self._world.hosts):
            yield from self._start(chance, member)

    def _storm(self, chance: Random) -> Plan:
        """One member is killed as often as it comes up."""
        member = pick(self._world, chance)
        for _ in range(chance.randint(2, STORM_CRASHES) if member is not None else 0):
            assert member is not None
            yield Crash(member, _draw_calls(chance), draw_tearing(chance, self._mix.power_share))
            yield chance.random() * 0.1
            yield from self._start(chance, member)
            yield chance.random() * 0.2

    def _crash_receiver(self, chance: Random) -> Plan:
        """Wait for a snapshot that is there and not installed yet, and kill who has it."""
        until = self._world.now + SNAPSHOT_WITHIN_SECONDS
        while self._world.now < until:
            leader = self._world.leader
            progress = {} if leader is None else self._world.process(leader).member.progress
            for member, follower in progress.items():
                if follower.delivered_at is not None and member in self._world.running:
                    yield from self._crash_for_a_while(chance, member)
                    return
            yield LOOK_EVERY_SECONDS

    def _start_somebody(self, chance: Random) -> Plan:
        """Start somebody who is down, for whatever reason."""
        down = [host.member_id for host in self._world.hosts.values() if host.process is None and not host.is_lost]
        if down:
            yield from self._start(chance, chance.choice(down))

    def _start(self, chance: Random, member: int) -> Plan:
        if chance.random() < self._mix.recovery_crash_share:
            tearing = draw_tearing(chance, self._mix.power_share)
            yield StartAndCrash(member, chance.randrange(MAX_CALLS_OF_A_RECOVERY), tearing)
            yield self._mix.down_seconds
        yield Start(member)

    def _stop(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield Stop(member)
            yield draw_seconds(chance, self._mix.down_seconds)
            yield from self._start(chance, member)

    def _pause(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield Pause(member, clock_stands=chance.random() < self._mix.clock_stands_share)
            yield draw_seconds(chance, self._mix.pause_seconds)
            yield Resume(member)

    def _slow(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield SlowDown(member, self._mix.slow_turn_seconds)
            yield draw_seconds(chance, self._mix.slow_seconds)
            yield SlowDown(member, self._mix.turn_seconds)

    def _lose(self, chance: Random) -> Plan:
        member = pick(self._world, chance)
        if member is not None:
            yield Lose(member)
