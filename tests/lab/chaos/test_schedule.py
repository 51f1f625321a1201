"""Schedules: the same from the same seed, one fault at a time, every kind before any comes again."""

from __future__ import annotations

import itertools

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.chaos import KINDS, PlannedFault, plan_faults
from raftswarm.lab.chaos.schedule import FORMS, GAP_SECONDS, LAST_SECONDS


def test_the_same_seed_is_the_same_schedule_and_another_is_another() -> None:
    assert plan_faults(7, 120) == plan_faults(7, 120)
    assert plan_faults(7, 120) != plan_faults(8, 120)


def test_a_longer_run_begins_as_the_shorter_one() -> None:
    short, long = plan_faults(7, 60), plan_faults(7, 600)

    assert long[: len(short)] == short


@pytest.mark.parametrize("seed", range(20))
def test_faults_come_one_at_a_time_and_leave_peace_behind(seed: int) -> None:
    faults = plan_faults(seed, 120)

    for fault, after in itertools.pairwise(faults):
        assert GAP_SECONDS[0] <= round(after.at - fault.ends, 1) <= GAP_SECONDS[1]
    assert faults[-1].ends <= 120 - LAST_SECONDS
    assert all(fault.form in FORMS[fault.kind] for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_strikes_a_leader_before_any_strikes_again(seed: int) -> None:
    faults = plan_faults(seed, 600)[: len(KINDS)]

    assert sorted(fault.kind for fault in faults) == sorted(KINDS)
    assert {fault.target for fault in faults} == {"leader"}


def test_kinds_and_targets_are_as_asked() -> None:
    faults = plan_faults(3, 300, kinds=("kill", "pause"), targets=("worker", "follower"))

    assert {fault.kind for fault in faults} == {"kill", "pause"}
    assert {fault.target for fault in faults} == {"worker", "follower"}


def test_over_many_schedules_every_form_and_target_comes_up() -> None:
    faults = [fault for seed in range(30) for fault in plan_faults(seed, 300)]

    assert {fault.form for fault in faults} == {form for forms in FORMS.values() for form in forms}
    assert {fault.target for fault in faults} == {"leader", "follower", "worker"}
    assert all(str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("kinds", "targets", "seconds", "words"),
    [
        (("fire",), ("leader",), 120.0, "no fault 'fire'; there are kill, pause"),
        (("kill",), ("king",), 120.0, "no target 'king'"),
        ((), ("leader",), 120.0, "name a fault at least"),
        (("partition",), ("leader",), 7.0, "no fault has room"),
    ],
)
def test_what_fits_no_run_is_refused(
    kinds: tuple[str, ...], targets: tuple[str, ...], seconds: float, words: str
) -> None:
    with pytest.raises(InvalidSpec, match=words):
        plan_faults(1, seconds, kinds=kinds, targets=targets)


@pytest.mark.parametrize(
    ("form", "amount", "words"),
    [
        ("machine", 0.0, "kill the leader with its tasks"),
        ("alone", 0.0, "cut the leader off"),
        ("late", 0.06, "delay the leader's network by 60 ms"),
        ("lossy", 0.1, "lose 10 % on the leader's network"),
        ("syncs", 0.4, "slow the leader's disk down by 400 ms a sync"),
        ("date", -7200.0, "set the leader's date 2 h back"),
        ("date", 86400.0, "set the leader's date 1 d ahead"),
        ("rate", 0.5, "let the leader's clock go 0.5 times as fast"),
    ],
)
def test_a_fault_says_what_it_does(form: str, amount: float, words: str) -> None:
    fault = PlannedFault(kind="", form=form, target="leader", place=0, at=0.0, seconds=1.0, amount=amount)

    assert str(fault) == words
