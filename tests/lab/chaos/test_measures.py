"""Figures: outages, failovers and convergences from what clients and the watcher saw."""

from __future__ import annotations

import pytest

from raftswarm.lab.chaos.measures import (
    find_outages,
    measure_availability,
    measure_convergence,
    measure_failover,
    slice_samples,
)
from raftswarm.lab.chaos.watching import Look
from raftswarm.lab.chaos.workload import Sample


def write(began: float, ended: float, outcome: str = "done", kind: str = "write") -> Sample:
    return Sample(kind, outcome, "docker1", began, ended)


def steadily(*spans: tuple[float, float]) -> list[Sample]:
    """Writes every tenth of a second in these spans."""
    tenths = [range(round(began * 10), round(ended * 10)) for began, ended in spans]
    return [write(tenth / 10, tenth / 10 + 0.05) for span in tenths for tenth in span]


def test_an_outage_is_a_gap_between_acknowledged_writes_also_at_the_ends() -> None:
    samples = steadily((1.0, 4.0), (6.0, 9.0))
    samples += [write(4.5, 5.0, "unknown"), write(4.5, 5.0, "refused"), write(4.5, 5.0, kind="read")]

    outages = find_outages(samples, 10.0)

    assert outages == [pytest.approx((0.0, 1.05)), pytest.approx((3.95, 6.05)), pytest.approx((8.95, 10.0))]
    assert measure_availability(outages, 10.0) == pytest.approx(1 - 0.105 - 0.21 - 0.105)


def test_without_any_write_nothing_was_available() -> None:
    assert measure_availability(find_outages([], 10.0), 10.0) == 0.0


def test_steady_writes_are_no_outage() -> None:
    assert find_outages(steadily((0.0, 10.0)), 10.0) == []


def test_a_failover_ends_with_the_first_write_that_began_after_the_strike() -> None:
    samples = [write(1.9, 2.3), write(2.1, 2.2, "unknown"), write(2.1, 3.5), write(2.5, 3.0)]

    assert measure_failover(samples, 2.0) == pytest.approx(1.0)
    assert measure_failover(samples, 4.0) is None


def test_a_convergence_counts_only_before_the_next_fault() -> None:
    looks = [
        Look(at=at, running=running, doubled=0, ready=5, reachable=3, leader="")
        for at, running in ((1.0, 6), (2.0, 5), (3.0, 6))
    ]

    def is_whole(look: Look) -> bool:
        return look.running == 6

    assert measure_convergence(looks, is_whole, 1.5) == pytest.approx(1.5)
    assert measure_convergence(looks, is_whole, 1.5, 2.5) is None


def test_calls_are_counted_where_they_ended() -> None:
    samples = [write(0.1, 0.4), write(0.1, 0.6), write(0.2, 0.7, "refused"), write(0.2, 0.8, kind="read")]
    samples += [write(0.9, 1.2), write(0.8, 0.9, "outrun")]

    first, second = slice_samples(samples, 1.0)

    assert (first.writes, first.reads, first.failures) == (1, 0, 0)
    assert (second.writes, second.reads, second.failures) == (1, 1, 1)
