"""Garbage collections are planned while somebody asks for it, and nothing of that stays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from raftswarm.world.garbage import THRESHOLDS, CollectionPlan


class Blocks:
    """How much the process holds."""

    def __init__(self) -> None:
        self.number = 1_000_000

    def __call__(self) -> int:
        return self.number


class Circle:
    """Garbage that only a search finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@pytest.fixture
def plan(blocks: Blocks) -> CollectionPlan:
    return CollectionPlan(blocks)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = gc.get_threshold(), len(gc.callbacks), gc.isenabled()
    yield
    assert (gc.get_threshold(), len(gc.callbacks), gc.isenabled()) == before
    assert gc.get_freeze_count() == 0


def lost_circle() -> weakref.ref[Circle]:
    return weakref.ref(Circle())


def test_what_survives_a_full_search_is_not_searched_again(plan: CollectionPlan) -> None:
    with plan.in_force():
        kept = [[number] for number in range(1_000)]
        gc.collect()

        assert gc.get_threshold() == THRESHOLDS
        assert not any(held is kept for held in gc.get_objects())


def test_new_garbage_is_found_all_the_same(plan: CollectionPlan) -> None:
    with plan.in_force():
        lost = lost_circle()
        gc.collect()

        assert lost() is None


def old_circle() -> weakref.ref[Circle]:
    """One that was frozen before it was lost."""
    circle = Circle()
    gc.collect()
    return weakref.ref(circle)


def test_old_garbage_is_found_whenever_the_process_has_doubled(plan: CollectionPlan, blocks: Blocks) -> None:
    with plan.in_force():
        for number in (2_000_001, 4_000_003):
            lost = old_circle()
            gc.collect()
            assert lost() is not None

            blocks.number = number
            gc.collect()
            gc.collect()
            assert lost() is None

            lost_since = old_circle()
            gc.collect()
            gc.collect()
            assert lost_since() is not None


def test_after_a_start_growth_counts_from_there(plan: CollectionPlan, blocks: Blocks) -> None:
    with plan.in_force():
        kept = Circle()
        blocks.number = 10_000_000
        plan.settle()
        gc.collect()

        assert not any(held is kept for held in gc.get_objects())


def test_the_last_who_asked_ends_it(plan: CollectionPlan) -> None:
    with plan.in_force():
        with plan.in_force():
            pass
        assert gc.get_threshold() == THRESHOLDS
    assert gc.get_threshold() != THRESHOLDS


def test_a_program_that_changes_its_mind_has_its_way(plan: CollectionPlan) -> None:
    before = gc.get_threshold()
    with plan.in_force():
        gc.set_threshold(5_000, 7, 7)

    assert gc.get_threshold() == (5_000, 7, 7)
    gc.set_threshold(*before)


def test_a_program_without_collections_goes_on_without(plan: CollectionPlan) -> None:
    before = gc.get_threshold()
    gc.disable()
    try:
        with plan.in_force():
            plan.settle()
            assert gc.get_threshold() == before
            assert gc.get_freeze_count() == 0
    finally:
        gc.enable()


def test_a_program_that_has_frozen_its_objects_keeps_them_so(plan: CollectionPlan) -> None:
    gc.freeze()
    try:
        with plan.in_force():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_an_allocator_that_does_not_count_leaves_collections_as_they_are(plan: CollectionPlan, blocks: Blocks) -> None:
    before = gc.get_threshold()
    blocks.number = 0
    with plan.in_force():
        assert gc.get_threshold() == before
