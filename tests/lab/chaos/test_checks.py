"""What has to hold at the end, and that each thing that does not is found: every bug here is planted."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.lab.chaos.checks import Endings, find_lost, judge
from tests.lab.chaos.conftest import REGISTER, Writing


def endings(writing: Writing, value: str, **others: object) -> Endings:
    good = Endings(
        operations=writing.operations,
        values={REGISTER: value},
        convergence_seconds=1.0,
        started_twice=(),
        left_over=(),
        troubles=(),
    )
    return attrs.evolve(good, **others)  # type: ignore[arg-type]


def failed(endings: Endings) -> list[str]:
    return [check.name for check in judge(endings) if not check.held]


def test_a_run_in_which_all_went_well_holds(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.read("a")
    writing.swap("a", "b")

    assert failed(endings(writing, "b")) == []


def test_a_lost_write_is_found_even_where_nobody_read_it(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.swap("a", "b")  # Acknowledged, and then gone.
    writing.swap("a", "c")

    assert find_lost(writing.operations, {REGISTER: "c"}) == [f"{REGISTER}: 'b' of c1"]
    assert failed(endings(writing, "c")) == ["reads and writes are linearizable", "nothing acknowledged is lost"]


def test_a_last_write_that_is_gone_is_lost(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.swap("a", "b")

    assert failed(endings(writing, "a")) == ["nothing acknowledged is lost"]


def test_everything_is_lost_with_a_register_that_was_set_back(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.swap("a", "b")

    assert len(find_lost(writing.operations, {REGISTER: "first"})) == 2


def test_a_write_of_unknown_outcome_may_be_there_or_not(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.swap("a", "b", known=False)

    assert failed(endings(writing, "a")) == []
    writing.swap("b", "c")
    writing.read("c")
    assert failed(endings(writing, "c")) == []


def test_a_value_that_nobody_wrote_is_found(writing: Writing) -> None:
    writing.swap("first", "a")

    assert find_lost(writing.operations, {REGISTER: "x"}) == [
        f"{REGISTER}: nobody wrote 'x'",
        f"{REGISTER}: 'a' of c1",
    ]


def test_a_stale_read_is_found(writing: Writing) -> None:
    writing.swap("first", "a")
    writing.read("first")

    assert failed(endings(writing, "a")) == ["reads and writes are linearizable"]


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("convergence_seconds", None, "replicas and nodes converge"),
        ("started_twice", ["task1"], "no task is started twice"),
        ("left_over", ["1 on docker2"], "no process is left"),
        ("troubles", ["docker2 did not start"], "every daemon comes back"),
    ],
)
def test_each_other_failure_is_a_check_of_its_own(writing: Writing, field: str, value: object, name: str) -> None:
    assert failed(endings(writing, "first", **{field: value})) == [name]


def test_of_many_that_are_lost_some_are_shown(writing: Writing) -> None:
    for number in range(20):
        writing.swap("first", f"v{number}")

    [check] = [check for check in judge(endings(writing, "v0")) if check.name == "nothing acknowledged is lost"]

    assert check.seen.endswith("and 14 more")
