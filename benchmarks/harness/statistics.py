"""Few numbers that stand for many: percentiles of what was measured, medians of rounds, ratios of pairs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import attrs


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies; they are sorted, and some."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@attrs.frozen
class Spread:
    """What several rounds found."""

    median: float
    least: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Sum up rounds, of which there is one at least."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def paired_ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Return ours / theirs for each round that has both: what slows the machine for a while slows both of a pair."""
    return [ours[number] / theirs[number] for number in ours if theirs.get(number)]
