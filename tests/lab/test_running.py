"""Many seeds: what is told of all of them is the sum of what is told of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.recording import read_recording
from raftswarm.lab.replaying import run_recording
from raftswarm.lab.running import Order, Struck, add_up, finish_recording, histogram, run_order
from raftswarm.lab.seeds import run_seed


@pytest.fixture
def violated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every world violates something."""

    def turn_ended(_invariants: Invariants, member: int, _applied_index: int) -> None:
        raise Violation(f"0: planted at {member}")

    monkeypatch.setattr(Invariants, "turn_ended", turn_ended)


def test_a_report_adds_up_what_the_seeds_did() -> None:
    rows = [run_order(Order(seed=seed, seconds=2.0)) for seed in (3, 1, 2)]

    report = add_up(rows)

    outcomes = [run_seed(seed, 2.0) for seed in (1, 2, 3)]
    assert report.seeds == 3
    assert report.events == sum(outcome.events for outcome in outcomes)
    assert report.acknowledged == sum(outcome.acknowledged for outcome in outcomes)
    assert sum(report.faults.values()) == sum(len(outcome.struck) for outcome in outcomes)
    assert list(report.commits.items()) == [(outcome.seed, outcome.last_committed) for outcome in outcomes]
    assert report.cluster_hours == pytest.approx(sum(outcome.ended_at for outcome in outcomes) / 3600)
    assert report.commits_per_seed == sum(report.commits.values()) / 3
    assert report.events_per_cpu_second > 0
    assert report.failures == []
    reached = Coverage()
    for outcome in outcomes:
        reached.add(outcome.coverage)
    assert reached.marks
    assert report.coverage.seeds == 3
    assert (report.coverage.marks, report.coverage.triples) == (reached.marks, reached.triples)


def test_strikes_are_counted_by_the_seeds_that_drew_them() -> None:
    outcomes = [run_seed(seed, 10.0) for seed in (1, 2, 3)]
    drawn = [kind for outcome in outcomes for kind in outcome.strikes]
    assert any(drawn.count(kind) < 3 for kind in drawn), "some are absent from some"

    report = add_up(run_order(Order(seed=seed, seconds=10.0)) for seed in (1, 2, 3))

    assert {kind: struck.seeds for kind, struck in report.strikes.items()} == {k: drawn.count(k) for k in drawn}
    strikes = sum(sum(outcome.strikes.values()) for outcome in outcomes)
    assert sum(struck.strikes for struck in report.strikes.values()) == strikes > 0
    assert Struck(seeds=4, strikes=10).per_seed == 2.5


@pytest.mark.usefixtures("violated")
def test_a_failure_is_recorded_and_reported_with_its_recording(tmp_path: Path) -> None:
    row = run_order(Order(seed=5, seconds=2.0, directory=str(tmp_path / "kept")))

    [failure] = add_up([row]).failures
    assert failure.violation.startswith("Violation: 0: planted at ")
    assert failure.seed == 5
    recording = read_recording(failure.recording)
    assert recording.ending is not None
    assert recording.ending.violation == failure.violation


@pytest.mark.usefixtures("violated")
def test_where_nothing_can_be_recorded_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InvalidSpec, match=r"cannot write .*--keep"):
        run_order(Order(seed=5, seconds=2.0, directory=str(tmp_path / "file")))


def test_runs_that_go_well_are_recorded_if_asked_for(tmp_path: Path) -> None:
    silent = run_order(Order(seed=5, seconds=1.0, directory=str(tmp_path)))
    kept = run_order(Order(seed=5, seconds=1.0, directory=str(tmp_path), keeps_all=True))

    assert (silent.recording, kept.recording) == ("", str(tmp_path / "seed-5.recording"))


def test_the_cluster_has_as_many_members_as_were_ordered() -> None:
    recorded = [run_seed(seed, 0.5, members=5).recording.members for seed in range(5)]

    assert recorded == [5] * 5


def test_a_digest_is_of_all_that_happens() -> None:
    one, again, other = (run_order(Order(seed=seed, seconds=1.0, is_traced=True)).digest for seed in (1, 1, 2))

    assert one == again != other
    assert run_order(Order(seed=1, seconds=1.0)).digest == ""


def test_a_histogram_has_classes_that_double() -> None:
    assert histogram([0, 1, 2, 3, 9]) == [("0 to 0", 1), ("1 to 1", 1), ("2 to 3", 2), ("4 to 7", 0), ("8 to 15", 1)]
    assert histogram([]) == []


def test_a_recording_of_an_outcome_has_its_ending() -> None:
    outcome = run_seed(3, 2.0)

    recording = finish_recording(outcome)

    assert recording.ending == run_recording(recording)
    assert recording.ending is not None
    assert recording.ending.steps == outcome.events
