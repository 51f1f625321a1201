"""Runs that several tests look at, and an invariant that is made to fail."""

from __future__ import annotations

from functools import cache

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import Crash, Fault, FaultEvent, JumpWall, Pause, Resume, SlowDown, Start
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.recording import Recording
from raftswarm.lab.replaying import Check
from raftswarm.lab.seeds import run_seed

LEADER = 2
"""Has the highest priority."""


@cache
def drawn(seed: int, seconds: float = 3.0) -> Recording:
    """A random world, with the faults that struck it."""
    outcome = run_seed(seed, seconds)
    assert outcome.failure is None
    return outcome.recording


def scripted(*faults: tuple[float, Fault], seconds: float = 6.0, heals: bool = False) -> Recording:
    """Three members whose second one leads first."""
    mix = FaultMix(priority_levels=3)
    events = tuple(FaultEvent(at, fault) for at, fault in faults)
    return Recording(seed=1, members=3, seconds=seconds, mix=mix, faults=events, heals=heals)


def many_faults() -> Recording:
    """Two of them matter: the leader's crash, and then that of its successor."""
    noise: list[tuple[float, Fault]] = [
        *((0.3 + number / 10, JumpWall(1 + number % 3, 60.0)) for number in range(15)),
        *((2.0 + number / 10, SlowDown(1 + number % 3, 0.001)) for number in range(9)),
        (1.8, Pause(3)),
        (1.9, Resume(3)),
    ]
    return scripted(*sorted([*noise, (3.0, Crash(2)), (3.5, Start(2)), (4.5, Crash(1))], key=lambda fault: fault[0]))


def nobody_leads_from(term: int) -> Check:
    """Return an invariant that no engine could keep."""

    def check(world: CoreWorld) -> None:
        for process in map(world.process, world.running):
            if process.leadership.is_leader and process.leadership.term >= term:
                raise Violation(f"99: {process.member_id} leads term {process.leadership.term}")

    return check
