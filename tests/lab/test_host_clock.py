"""A machine's clock may stand, and nothing is due by it meanwhile."""

from __future__ import annotations

from math import inf

from raftswarm.lab import CoreWorld
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.host_clock import HostClock


def test_nothing_is_due_while_a_clock_stands() -> None:
    clock = HostClock(EventHeap())
    clock.stand()

    assert clock.to_world(1.0) == inf
    assert clock.to_world(0.0) == 0.0

    clock.go_on()
    assert clock.to_world(1.0) == 1.0


def test_a_machine_that_is_started_anew_has_a_clock_that_goes() -> None:
    world = CoreWorld(3)
    world.run_for(5.0)
    world.pause(1)
    world.hosts[1].clock.stand()
    world.crash(1)

    world.start(1)
    before = world.hosts[1].clock.now()
    world.run_for(1.0)

    assert world.hosts[1].clock.now() > before
