"""Planted bugs: each patch says what it breaks and fits the code; what is caught, and what is not, is told as it is."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import msgspec
import pytest

from benchmarks.planted_bugs import PATCHES, check_patches, choose, read_outcomes
from benchmarks.planting.checks import CHECKS, Budget, Finding, RandomWorlds, Suite
from benchmarks.planting.copies import plant, scratch_copy
from benchmarks.planting.patches import AREAS, BadPatch, PlantedBug, read_bugs
from benchmarks.planting.scoring import CONTROL, Outcome, add_up, render_score, render_table

SMALL = Budget(seeds=2, seconds=1.0)
NOBODY_LEADS = """\
diff --git a/raftswarm/raft/log_view.py b/raftswarm/raft/log_view.py
--- a/raftswarm/raft/log_view.py
+++ b/raftswarm/raft/log_view.py
@@ -134,7 +134,7 @@ class LogView:

     def is_up_to_date(self, last_term: int, last_index: int) -> bool:
         \"\"\"Tell whether a log that ends there is at least as up to date as ours (5.4.1).\"\"\"
-        return (last_term, last_index) >= (self.last_term, self.last_index)
+        return False

     def first_conflict(self, entries: Sequence[Entry]) -> int:
         \"\"\"Return the position among `entries` of the first that we lack or hold with another term (5.3).\"\"\"
"""


def make_bug(patch: str = NOBODY_LEADS) -> PlantedBug:
    return PlantedBug(number=1, name="bug", title="A bug.", area="consensus", effect="None.", patch=patch)


def make_outcome(number: int, **fields: object) -> Outcome:
    known = {"label": f"{number:02}-bug", "area": "consensus", "code": "code", "seeds_allowed": 10, "seconds": 1.0}
    return Outcome(number=number, **(known | fields))  # type: ignore[arg-type]


def test_every_patch_says_what_it_is_and_applies_to_the_code() -> None:
    bugs = read_bugs(PATCHES)

    check_patches(bugs)
    assert {bug.area for bug in bugs} == {*AREAS}
    assert CHECKS.keys() == {*AREAS}


def test_a_patch_for_other_code_is_refused_by_name() -> None:
    stale = make_bug(NOBODY_LEADS.replace("self.last_index)", "self.end)"))

    with pytest.raises(BadPatch, match="01-bug does not apply"):
        check_patches([stale])


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("bug.patch", "", "NN-some-name.patch"),
        ("01-bug.patch", "Title: A bug.\nArea: consensus\n\n", "lacks a line Effect:"),
        ("01-bug.patch", "Title: A bug.\nArea: weather\nEffect: Rain.\n\n", "'weather' is none of the areas"),
        ("01-bug.patch", "diff --git a b\n\n", "begins with none of"),
    ],
)
def test_a_file_that_says_too_little_is_refused(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(BadPatch, match=re.escape(complaint)):
        read_bugs(tmp_path)


def test_a_bug_is_planted_in_the_copy_alone() -> None:
    with scratch_copy(make_bug()) as copy:
        planted = (copy / "raftswarm/raft/log_view.py").read_text()
        assert "return False" in planted
        with pytest.raises(BadPatch):
            plant(make_bug(), copy)  # Once is enough.

    assert (PATCHES.parents[1] / "raftswarm/raft/log_view.py").read_text() != planted
    assert not copy.exists()


def test_random_worlds_catch_a_cluster_that_elects_nobody_and_raise_no_alarm_without_a_bug() -> None:
    findings: list[Finding] = []
    for bug in (make_bug(), None):
        with scratch_copy(bug) as copy:
            findings.append(RandomWorlds().run(copy, SMALL))

    caught, clean = findings
    assert (caught.seeds, caught.error) == (1, "")
    assert "a leader" in caught.caught_by
    assert attrs.evolve(clean, cpu_seconds=0.0) == Finding(seeds=SMALL.seeds)


def test_a_test_that_fails_is_named() -> None:
    with scratch_copy(None) as copy:
        (copy / "test_toy.py").write_text("def test_fine(): pass\ndef test_wrong(): assert 1 == 2\n")
        wrong = Suite("tests", ("test_toy.py",)).run(copy, SMALL)
        fine = Suite("tests", ("test_toy.py::test_fine",)).run(copy, SMALL)
        missing = Suite("tests", ("test_nowhere.py",)).run(copy, SMALL)

    assert wrong.caught_by.startswith("test_toy::test_wrong: ")
    assert (fine.caught_by, fine.error) == ("", "")
    assert not missing.caught_by
    assert missing.error


def test_what_only_tests_of_the_parts_caught_is_no_catch_of_the_gate() -> None:
    outcomes = [
        make_outcome(CONTROL, label="control", area="", seeds=10),
        make_outcome(1, caught_by="Violation: 1: two leaders", kind="worlds", seeds=3, cpu_seconds=2.0),
        make_outcome(2, caught_by="Violation: 4: lost", kind="worlds", seeds=7, cpu_seconds=4.0),
        make_outcome(3, caught_by="test_x::test_y: no", kind="tests", seeds=10, cpu_seconds=9.0),
        make_outcome(4, seeds=10, cpu_seconds=9.0),
        make_outcome(5, error="killed"),
    ]

    score = add_up(outcomes)

    assert (score.caught, score.caught_by_tests, score.bugs) == (2, 1, 5)
    assert (score.missed, score.without_verdict) == (["04-bug"], ["05-bug"])
    assert (score.median_seeds, score.most_seeds, score.by_area["consensus"]) == (5.0, 7, (2, 5))
    assert "control: no alarm in 10 seeds" in render_score(score)
    assert "| 04-bug | consensus | **missed** |" in render_table(outcomes)


def test_only_what_was_tried_with_the_same_budget_and_has_a_verdict_is_gone_on_from(tmp_path: Path) -> None:
    known = [
        make_outcome(1, code="a", seeds_allowed=SMALL.seeds, seconds=SMALL.seconds),
        make_outcome(2, code="b", seeds_allowed=SMALL.seeds + 1, seconds=SMALL.seconds),
        make_outcome(3, code="c", seeds_allowed=SMALL.seeds, seconds=SMALL.seconds, error="killed"),
    ]
    file = tmp_path / "outcomes"
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in known))

    assert read_outcomes(file, SMALL) == {"a": known[0]}


def test_bugs_are_chosen_by_number_and_rejected_ones_do_not_count() -> None:
    bugs = [make_bug(), attrs.evolve(make_bug(), number=2, rejected="It changes nothing.")]

    assert choose(bugs, "") == [None, bugs[0]]
    assert choose(bugs, "1") == [bugs[0]]
    with pytest.raises(BadPatch, match="there is no bug 2"):
        choose(bugs, "1,2")
