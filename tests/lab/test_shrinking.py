"""Delta debugging: what is left of a failing run still fails, in the same way, and nothing of it can be left out."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.fault_events import Crash, JumpWall
from raftswarm.lab.faults import FaultMix, NetworkConditions
from raftswarm.lab.recording import Ending, Recording
from raftswarm.lab.replaying import failure_kind, run_recording
from raftswarm.lab.shrinking import Progress, shrink
from tests.lab.recorded import many_faults, nobody_leads_from, scripted


def run(recording: Recording) -> Ending:
    """Of three members: a fourth term takes two lost leaders."""
    return run_recording(recording, check=nobody_leads_from(4))


def test_the_faults_that_matter_are_left() -> None:
    recording = many_faults()
    assert len(recording.faults) == 29

    shrunk = shrink(recording, run)

    assert len(shrunk.faults) <= 3
    assert {event.fault.kind for event in shrunk.faults} <= {"crash", "start"}
    assert shrunk.ending == run(shrunk)
    assert shrunk.ending is not None
    assert failure_kind(shrunk.ending.violation) == "Violation: 99:"


def test_no_fault_that_is_left_can_be_left_out() -> None:
    shrunk = shrink(many_faults(), run)

    for place in range(len(shrunk.faults)):
        left = shrunk.faults[:place] + shrunk.faults[place + 1 :]
        assert run(msgspec.structs.replace(shrunk, faults=left)).violation == ""


def test_knobs_and_members_that_do_not_matter_are_gone() -> None:
    mix = FaultMix(priority_levels=3, turn_seconds=0.001, network=NetworkConditions(loss=0.01))
    recording = msgspec.structs.replace(scripted(), members=5, mix=mix)

    shrunk = shrink(recording, lambda one: run_recording(one, check=nobody_leads_from(2)))

    assert (shrunk.members, shrunk.mix, shrunk.faults) == (1, FaultMix(), ())


def test_another_failure_does_not_count() -> None:
    """Without the crash the run fails too, but otherwise."""
    recording = scripted((2.0, JumpWall(1, 1.0)), (3.0, Crash(2)))

    def run_otherwise(one: Recording) -> Ending:
        crashed = any(isinstance(event.fault, Crash) for event in one.faults)
        return Ending(steps=1, at=4.0, digest="", violation="Violation: 1: so" if crashed else "Violation: 2: so")

    shrunk = shrink(recording, run_otherwise)

    assert [event.fault for event in shrunk.faults] == [Crash(2)]


def test_every_try_is_reported_and_the_search_is_bounded() -> None:
    reported: list[Progress] = []

    shrunk = shrink(many_faults(), run, report=reported.append, max_runs=5)

    assert [progress.runs for progress in reported] == [1, 2, 3, 4, 5]
    assert [progress.faults for progress in reported] == sorted((p.faults for p in reported), reverse=True)
    assert run(shrunk).violation


def test_a_run_that_goes_well_cannot_be_shrunk() -> None:
    with pytest.raises(InvalidSpec, match="violates nothing"):
        shrink(scripted(seconds=1.0), run_recording)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Violation: 1: VoteReply(sender=1)", "Violation: 1: VoteReply(sender=2)", True),
        ("Violation: 1: so", "Violation: 10: so", False),
        (
            "Violation: a leader among [1, 2] did not happen within 5 s",
            "Violation: a leader among [3] did not happen within 1.5 s",
            True,
        ),
        ("AssertionError: one vote per term", "AssertionError: what is committed stays", False),
        ("Violation: 1: so", "", False),
    ],
)
def test_failures_are_of_one_kind_by_their_invariant_or_their_words(one: str, other: str, same: bool) -> None:
    assert (failure_kind(one) == failure_kind(other)) is same
