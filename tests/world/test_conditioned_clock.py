"""Clocks that are wrong for a while: timers that never jump, a date that does."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.world.conditioned_clock import ConditionedWallClock, DriftingClock


@attrs.define
class Time:
    seconds: float = 100.0

    def now_ns(self) -> int:
        return int(self.seconds * 1e9)

    def __call__(self) -> float:
        return self.seconds


def test_timers_go_at_their_rate_and_never_jump() -> None:
    true = Time()
    clock = DriftingClock(true)
    clock.start_clock()
    began = clock.current_time()

    true.seconds += 10
    clock.rate = 2.0
    assert clock.current_time() - began == pytest.approx(10)
    true.seconds += 10
    assert clock.current_time() - began == pytest.approx(30)
    clock.rate = 0.5
    assert clock.current_time() - began == pytest.approx(30)
    true.seconds += 10

    assert clock.current_time() - began == pytest.approx(35)
    assert clock.deadline_to_sleep_time(began + 36) == pytest.approx(2)


def test_a_date_is_wrong_by_what_is_said_and_drifts_at_its_rate() -> None:
    true = Time()
    clock = ConditionedWallClock(true)

    clock.set(60.0, 1.0)
    assert clock.now_ns() == pytest.approx(160e9)
    clock.set(-60.0, 1.5)
    true.seconds += 10
    clock.set(-60.0, 1.5)
    assert clock.now_ns() == pytest.approx((110 - 60 + 5) * 1e9)

    clock.set(0.0, 1.0)
    assert clock.now_ns() == true.now_ns()
