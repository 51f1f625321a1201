"""Brings faults over a world: drawn from its mix as it goes, or read from a list of what struck before.

Either way they come as interrupts of the event heap, so one seed with the faults that it drew itself, and the same seed
with the list of these, are one run to the byte. Every kind of strike has a source of chance of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import attrs

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.disk_plans import DiskPlans
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.link_plans import LinkPlans
from raftswarm.lab.member_changes import MemberChanges
from raftswarm.lab.operator_plans import OperatorPlans
from raftswarm.lab.plans import Plan, Strike
from raftswarm.lab.process_plans import ProcessPlans
from raftswarm.lab.rare_plans import RarePlans

PATIENCE_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.004
INSIST_SECONDS = 1.0
"""What has not struck once, because it fitted no moment yet, is tried again after so long."""


@attrs.define(eq=False)
class _UnderWay:
    """A plan that has begun."""

    strike: Strike
    chance: Random
    steps: Plan
    has_struck: bool = False


class Nemesis:
    """Begins every plan of its mix at random times until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        self._world = world
        self._is_active = True
        self.strikes: dict[str, int] = {}
        """By kind of strike, for all that the mix has: how many of them made a difference."""
        mix = world.faults
        self._ambush = mix.ambush
        self._waiting: list[tuple[float, _UnderWay]] = []
        """What lies in wait, and until when."""
        self._insisted: set[str] = set()
        """Kinds of strike that are about to be tried again."""
        for plans in (ProcessPlans, DiskPlans, LinkPlans, MemberChanges, OperatorPlans, RarePlans):
            for strike in plans(world, mix).strikes():
                if strike.every:
                    self.strikes[strike.name] = 0
                    self._plan(strike, world.chance(f"nemesis {strike.name}"))

    def _plan(self, strike: Strike, chance: Random) -> None:
        heap = self._world.heap
        heap.interrupt_at(heap.now + chance.expovariate(1.0 / strike.every), self._begin, strike, chance)

    def _begin(self, strike: Strike, chance: Random) -> None:
        if not self._is_active:
            return
        self._plan(strike, chance)
        self._lie_in_wait(strike, chance)

    def _lie_in_wait(self, strike: Strike, chance: Random) -> None:
        plan = _UnderWay(strike, chance, strike.draw(chance))
        if self._ambush is None:
            self._go_on(plan)
            return
        self._waiting.append((self._world.now + PATIENCE_SECONDS, plan))
        if len(self._waiting) == 1:
            self._look_out()

    def _look_out(self) -> None:
        """Let begin what lies in wait, if the cluster is at what this world waits for; what has waited long, anyway."""
        now, is_time = self._world.now, self._ambush in self._world.onlooker.phases()
        begun = [plan for until, plan in self._waiting if is_time or until <= now]
        self._waiting = [] if is_time else [(until, plan) for until, plan in self._waiting if until > now]
        for plan in begun:
            self._go_on(plan)
        if self._waiting and self._is_active:
            self._world.heap.interrupt_at(now + LOOK_EVERY_SECONDS, self._look_out)

    def _go_on(self, plan: _UnderWay) -> None:
        """Let its faults strike until it wants to wait, or ends."""
        for step in plan.steps if self._is_active else ():
            if isinstance(step, (int, float)):
                self._world.heap.interrupt_at(self._world.now + step, self._go_on, plan)
                return
            if self._world.apply(step) and not plan.has_struck and isinstance(step, plan.strike.essence):
                plan.has_struck = True
                self.strikes[plan.strike.name] += 1
        self._insist(plan)

    def _insist(self, plan: _UnderWay) -> None:
        """Plan once more, and soon, what this world's mix has and what has never struck: not every moment fits it."""
        name, is_rare = plan.strike.name, plan.strike.every > INSIST_SECONDS
        if self._is_active and is_rare and not self.strikes[name] and name not in self._insisted:
            self._insisted.add(name)
            self._world.heap.interrupt_at(self._world.now + INSIST_SECONDS, self._try_again, plan)

    def _try_again(self, plan: _UnderWay) -> None:
        self._insisted.discard(plan.strike.name)
        if self._is_active and not self.strikes[plan.strike.name]:
            self._lie_in_wait(plan.strike, plan.chance)

    def stop(self) -> None:
        """Do nothing more; what is broken stays broken."""
        self._is_active = False


class Script:
    """Lets the faults of a list strike, each at its time, until `stop`."""

    def __init__(self, world: CoreWorld, events: Iterable[FaultEvent]) -> None:
        self._world = world
        self._is_active = True
        for event in events:
            world.heap.interrupt_at(event.at, self._strike, event)

    def _strike(self, event: FaultEvent) -> None:
        if self._is_active:
            self._world.apply(event.fault)

    def stop(self) -> None:
        """Do nothing more."""
        self._is_active = False
