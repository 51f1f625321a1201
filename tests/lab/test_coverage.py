"""Coverage adds up: over seeds, over files, and in any order."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.coverage import Coverage, curve_places, read_coverage, write_coverage
from raftswarm.lab.seeds import run_seed


def seed(*states: str, **marks: int) -> Coverage:
    return Coverage(seeds=1, marks=marks, states=dict.fromkeys(states, 1), curve={1: len(states)})


def add_up(*coverages: Coverage) -> Coverage:
    total = Coverage()
    for coverage in coverages:
        total.add(coverage)
    return total


def test_counts_are_added_up_by_their_names() -> None:
    total = add_up(seed(CAMPAIGN=2, COMMITS=1), seed(COMMITS=3))

    assert total.seeds == 2
    assert total.marks == {"CAMPAIGN": 2, "COMMITS": 4}


def test_the_order_makes_no_difference_to_what_was_reached() -> None:
    one, other = seed("a", "b", CAMPAIGN=1), seed("b", "c", COMMITS=1)

    both, swapped = add_up(one, other), add_up(other, one)

    assert (both.marks, both.states) == (swapped.marks, swapped.states)


def test_the_curve_tells_how_the_states_grew() -> None:
    total = add_up(seed("a"), seed("a", "b"), seed("c"), seed("d"), seed("d"))

    assert total.curve == {1: 1, 2: 2, 5: 4}
    assert curve_places(50) == [1, 2, 5, 10, 20, 50]


def test_what_is_added_is_not_changed() -> None:
    one = seed("a", CAMPAIGN=1)

    add_up(seed(CAMPAIGN=1), one)

    assert one == seed("a", CAMPAIGN=1)


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    coverage = run_seed(1, 2.0).coverage
    write_coverage(tmp_path / "one", coverage)

    assert read_coverage(tmp_path / "one") == coverage
    assert [file.name for file in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format":"raftswarm coverage","version":2}', b'{"format":"x"}'])
def test_a_file_that_holds_none_is_refused(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "none"
    place.write_bytes(content)

    with pytest.raises(InvalidSpec, match="none holds no coverage"):
        read_coverage(place)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot read"):
        read_coverage(tmp_path / "none")


def test_equal_seeds_reach_the_same() -> None:
    assert run_seed(5, 3.0).coverage == run_seed(5, 3.0).coverage
