"""Figures from samples: how much was available, how long failovers and convergences took, how much went through."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from raftswarm.lab.chaos.report import Slice
from raftswarm.lab.chaos.watching import Look
from raftswarm.lab.chaos.workload import Sample

OUTAGE_SECONDS: Final = 0.5
"""Shorter gaps between acknowledged writes are the clients' own pauses, on a busy machine."""
SLICE_SECONDS: Final = 0.5


def find_outages(samples: Sequence[Sample], seconds: float) -> list[tuple[float, float]]:
    """Return when no write was acknowledged for `OUTAGE_SECONDS` or longer, by any manager, until `seconds`."""
    moments = sorted(one.ended for one in samples if _is_acknowledged(one) and one.ended <= seconds)
    gaps = zip([0.0, *moments], [*moments, seconds], strict=True)
    return [(began, ended) for began, ended in gaps if ended - began >= OUTAGE_SECONDS]


def measure_availability(outages: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return the share of the time outside of them."""
    return 1.0 - sum(ended - began for began, ended in outages) / seconds


def measure_failover(samples: Sequence[Sample], struck_at: float) -> float | None:
    """Return how long it took until a write that began later was acknowledged; None if none was."""
    ends = [one.ended for one in samples if _is_acknowledged(one) and one.began >= struck_at]
    return min(ends) - struck_at if ends else None


def measure_convergence(
    looks: Sequence[Look], is_whole: Callable[[Look], bool], ended: float, next_began: float = math.inf
) -> float | None:
    """Return how long after a fault's end nothing was amiss; None if the next one began before that."""
    for look in looks:
        if ended <= look.at < next_began and is_whole(look):
            return look.at - ended
    return None


def slice_samples(samples: Sequence[Sample], seconds: float) -> list[Slice]:
    """Count calls per `SLICE_SECONDS`."""
    counts = [[0, 0, 0] for _ in range(math.ceil(seconds / SLICE_SECONDS))]
    for one in samples:
        place = int(one.ended / SLICE_SECONDS)
        if place < len(counts):
            column = int(one.kind == "write") if one.outcome == "done" else 2
            counts[place][column] += one.outcome != "outrun"
    return [
        Slice(at=place * SLICE_SECONDS, reads=reads, writes=writes, failures=failures)
        for place, (reads, writes, failures) in enumerate(counts)
    ]


def _is_acknowledged(sample: Sample) -> bool:
    return sample.kind == "write" and sample.outcome == "done"
