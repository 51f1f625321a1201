"""Swarm testing: every seed draws its own mix, and every fault is absent from some."""

from __future__ import annotations

from random import Random

import attrs

from raftswarm.lab.faults import FaultMix, draw_fault_mix


def mixes() -> list[FaultMix]:
    return [draw_fault_mix(Random(seed)) for seed in range(100)]


def test_every_fault_is_in_some_mixes_and_not_in_others() -> None:
    drawn = mixes()
    for field in attrs.fields(FaultMix):
        if field.name.endswith(("_every", "_share", "_spread")) and field.name != "call_every":
            values = [getattr(mix, field.name) for mix in drawn]
            assert any(values), field.name
            assert not all(values), field.name


def test_equal_seeds_draw_equal_mixes() -> None:
    assert draw_fault_mix(Random(3)) == draw_fault_mix(Random(3))


def test_clocks_stay_within_their_spread() -> None:
    mix = FaultMix(clock_spread=0.2)

    rates = [mix.draw_clock_rate(Random(seed)) for seed in range(100)]

    assert 0.8 <= min(rates) < 0.9
    assert 1.1 < max(rates) <= 1.2
