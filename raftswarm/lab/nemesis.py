"""Brings faults over a world: drawn from its mix as it goes, or read from a list of what struck before.

Either way they come as interrupts of the event heap, so one seed with the faults that it drew itself, and the same seed
with the list of these, are one run to the byte. Every kind of strike has a source of chance of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.disk_plans import DiskPlans
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.link_plans import LinkPlans
from raftswarm.lab.member_changes import MemberChanges
from raftswarm.lab.plans import Plan, Strike
from raftswarm.lab.process_plans import ProcessPlans
from raftswarm.lab.rare_plans import RarePlans


class Nemesis:
    """Begins every plan of its mix at random times until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        self._world = world
        self._is_active = True
        mix = world.faults
        for plans in (ProcessPlans, DiskPlans, LinkPlans, MemberChanges, RarePlans):
            for strike in plans(world, mix).strikes():
                if strike.every:
                    self._plan(strike, world.chance(f"nemesis {strike.name}"))

    def _plan(self, strike: Strike, chance: Random) -> None:
        heap = self._world.heap
        heap.interrupt_at(heap.now + chance.expovariate(1.0 / strike.every), self._begin, strike, chance)

    def _begin(self, strike: Strike, chance: Random) -> None:
        if self._is_active:
            self._plan(strike, chance)
            self._go_on(strike.draw(chance))

    def _go_on(self, plan: Plan) -> None:
        """Let its faults strike until it wants to wait, or ends."""
        for step in plan if self._is_active else ():
            if isinstance(step, (int, float)):
                self._world.heap.interrupt_at(self._world.now + step, self._go_on, plan)
                return
            self._world.apply(step)

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
