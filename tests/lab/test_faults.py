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
    mix = FaultMix(clock_spread=1.0)

    rates = [mix.draw_clock_rate(Random(seed)) for seed in range(100)]

    assert 0.5 <= min(rates) < 0.6
    assert 1.8 < max(rates) <= 2.0
    assert all(map(mix.allows_clock_rate, rates))
    assert not mix.allows_clock_rate(2.1)


def test_knobs_are_as_small_as_they_can_be_in_some_worlds() -> None:
    """Tiny limits make rare branches common."""
    drawn = mixes()
    links = [link for mix in drawn for link in (mix.network, *mix.other_networks)]

    assert min(mix.segment_bytes for mix in drawn) == 1
    assert min(mix.settings.append_window_messages for mix in drawn) == 1
    assert min(mix.settings.append_message_bytes for mix in drawn) == 1
    assert min(mix.compaction.snapshot_every_commands for mix in drawn) == 2
    assert 1 in {link.capacity for link in links}
