"""How a nemesis says what it is up to: plans that yield faults, which strike at once, and seconds to wait.

A plan looks at the world between its steps as it likes, but changes it by nothing but the faults it yields; and what it
leaves to chance it draws from the chance that it was given, which no other kind of plan uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import attrs

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import NO_POWER_LOSS, AnyFault, Fault

Plan = Iterator[Fault | float]


@attrs.frozen
class Strike:
    """One kind of strike: a plan that begins again and again."""

    name: str
    every: float
    """Mean seconds between two beginnings; 0 is never."""
    draw: Callable[[Random], Plan]
    essence: type[AnyFault] = AnyFault
    """The plan has struck when such a fault has; what comes before it only prepares it."""


def pick(world: CoreWorld, chance: Random) -> int | None:
    """Pick somebody who runs; leaders are the most interesting victims."""
    running = world.running
    leader = world.leader
    if leader is not None and chance.random() < 0.3:
        return leader
    return chance.choice(running) if running else None


def draw_tearing(chance: Random, power_share: float) -> int:
    """Draw whether the power fails, and what becomes of unsynced writes then."""
    seed = chance.getrandbits(32)
    return seed if chance.random() < power_share else NO_POWER_LOSS


def draw_seconds(chance: Random, mean: float) -> float:
    """Draw how long something lasts."""
    return chance.expovariate(1.0 / mean)
