"""Many seeds: what is told of all of them is the sum of what is told of each."""

from __future__ import annotations

import pytest

from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.replaying import run_recording
from raftswarm.lab.running import Campaign, finish_recording, histogram
from raftswarm.lab.seeds import SeedOutcome, run_seed


def test_a_report_adds_up_what_the_seeds_did() -> None:
    campaign = Campaign(2.0)

    outcomes = [campaign.run(seed) for seed in (1, 2, 3)]

    report = campaign.report
    assert report.seeds == 3
    assert report.events == sum(outcome.events for outcome in outcomes)
    assert report.acknowledged == sum(outcome.acknowledged for outcome in outcomes)
    assert sum(report.faults.values()) == sum(len(outcome.struck) for outcome in outcomes)
    assert report.commits == {outcome.seed: outcome.last_committed for outcome in outcomes}
    assert report.cluster_hours == pytest.approx(sum(outcome.ended_at for outcome in outcomes) / 3600)
    assert report.events_per_cpu_second > 0
    assert report.failures == []


def test_a_failure_is_handed_over_and_reported_with_its_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def turn_ended(_invariants: Invariants, member: int, _applied_index: int) -> None:
        raise Violation(f"0: planted at {member}")

    monkeypatch.setattr(Invariants, "turn_ended", turn_ended)
    failed: list[SeedOutcome] = []

    def record(outcome: SeedOutcome) -> str:
        failed.append(outcome)
        return "a file"

    campaign = Campaign(2.0, record)
    campaign.run(5)

    [failure] = campaign.report.failures
    assert failure.violation.startswith("Violation: 0: planted at ")
    assert (failure.seed, failure.recording) == (5, "a file")
    assert [outcome.seed for outcome in failed] == [5]


def test_a_histogram_has_classes_that_double() -> None:
    assert histogram([0, 1, 2, 3, 9]) == [("0 to 0", 1), ("1 to 1", 1), ("2 to 3", 2), ("4 to 7", 0), ("8 to 15", 1)]
    assert histogram([]) == []


def test_a_recording_of_an_outcome_has_its_ending() -> None:
    outcome = run_seed(3, 2.0)

    recording = finish_recording(outcome)

    assert recording.ending == run_recording(recording)
    assert recording.ending is not None
    assert recording.ending.steps == outcome.events
