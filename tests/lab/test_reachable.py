"""The lists of what worlds are to reach: whole, without contradictions, and true of what worlds do reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.fault_events import Crash, KeepCopy, PutBack, Start
from raftswarm.lab.invariants import Violation
from raftswarm.lab.reachable import (
    CASES,
    RARE_MARKS,
    RARE_PAIRS,
    RULES,
    UNREACHABLE_MARKS,
    UNREACHABLE_PAIRS,
    list_marks,
    list_pairs,
    list_reach,
)
from raftswarm.lab.seeds import run_seed
from raftswarm.lab.triples import RARE_TRIPLES, UNREACHABLE_TRIPLES, list_triples
from raftswarm.raft.acquaintances import Acquaintance
from raftswarm.raft.tracing import RULE, TraceEvent
from tests.lab.steps import T, followers, lead, write


@pytest.fixture(scope="module")
def reached() -> Coverage:
    total = Coverage()
    for seed in range(1, 21):
        total.add(run_seed(seed, 5.0).coverage)
    return total


@pytest.mark.parametrize("listed", [list_marks, list_triples, list_pairs])
def test_nothing_is_listed_twice_or_called_unreachable_too(listed: Callable[[], list[str]]) -> None:
    names = listed()

    assert len(names) == len(set(names))
    assert not {*names} & {*UNREACHABLE_MARKS, *UNREACHABLE_TRIPLES, *UNREACHABLE_PAIRS}
    assert not {*names} & {*RARE_MARKS, *RARE_TRIPLES, *RARE_PAIRS}


def test_there_are_at_least_a_hundred_marks() -> None:
    assert len(list_marks()) >= 100


def test_what_is_called_unreachable_has_a_name_and_a_reason() -> None:
    names = {rule.name for rules in RULES for rule in rules}

    assert {name.partition(".")[0] for name in (*UNREACHABLE_MARKS, *RARE_MARKS)} <= names
    for reasons in (UNREACHABLE_MARKS, UNREACHABLE_TRIPLES, UNREACHABLE_PAIRS, RARE_MARKS, RARE_TRIPLES, RARE_PAIRS):
        assert all(reasons.values())


def test_names_of_rules_and_cases_tell_them_apart() -> None:
    names = [rule.name for rules in RULES for rule in rules]

    assert len(names) == len(set(names))
    assert all(len(cases) == len(set(cases)) > 1 for cases in CASES.values())


def test_worlds_reach_nothing_that_is_not_listed(reached: Coverage) -> None:
    for reach in list_reach(reached):
        assert not reach.not_listed, reach.what


def test_a_few_worlds_reach_most_of_it(reached: Coverage) -> None:
    marks, triples, pairs = list_reach(reached)

    assert len(marks.missed) < len(marks.counts) / 3
    assert len(triples.missed) < len(triples.counts) / 2
    assert len(pairs.missed) < 3 * len(pairs.counts) / 4


def test_every_rule_that_is_named_makes_a_sentence() -> None:
    told: dict[str, str] = {}

    def hear(event: TraceEvent) -> None:
        if event.name == RULE:
            told[str(event.prop["rule"])] = str(event.prop["because"])

    for seed in range(1, 7):
        assert run_seed(seed, 4.0, events=hear).failure is None

    assert len(told) > 30
    assert not any("{" in sentence or "None" in sentence for sentence in told.values()), told


def test_who_takes_any_opening_for_whole_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every opening is judged to be good."""
    monkeypatch.setattr(Acquaintance, "judge", lambda _self, _opening: True)
    world = CoreWorld(1)
    lead(world)
    write(world, b"before")
    member = followers(world)[0]
    for fault in (KeepCopy(member), Crash(member), Start(member)):
        assert world.apply(fault)
    write(world, b"since")
    world.run_for(T)

    assert world.apply(PutBack(member))

    with pytest.raises(Violation, match="14: "):
        world.run_for(3 * T)
