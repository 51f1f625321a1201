"""A recording is the run: it happens again to the byte, up to any step, and may go on otherwise from there."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.fault_events import Crash
from raftswarm.lab.recording import CHECKPOINT_STEPS, decode_recording, encode_recording
from raftswarm.lab.replaying import Replay, find_departure, fork_recording, look_at_steps, run_recording
from raftswarm.lab.seeds import run_seed
from raftswarm.lab.steps import Step, StepLog
from raftswarm.lab.trace import Trace
from tests.lab.recorded import LEADER, drawn, nobody_leads_from, scripted


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_world_that_is_given_its_faults_is_the_one_that_drew_them(seed: int) -> None:
    outcome = run_seed(seed, 3.0, trace=Trace(enabled=True, keep_lines=False))

    ending = run_recording(decode_recording(encode_recording(outcome.recording)))

    assert (ending.digest, ending.steps, ending.at) == (outcome.digest, outcome.events, outcome.ended_at)


def test_looking_on_changes_nothing() -> None:
    recording = drawn(2)
    seen: list[Step] = []

    watched = Replay(recording, log=StepLog(first=0, observe=lambda step, _: seen.append(step))).run()

    assert watched == run_recording(recording)
    assert [step.number for step in seen] == list(range(watched.steps + 1))
    assert sum(len(step.faults) for step in seen) == len(recording.faults) > 0


def test_what_an_observer_raises_is_no_finding() -> None:
    def look(_step: Step, _world: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Replay(scripted(), log=StepLog(first=0, observe=look)).run()


def test_a_run_stops_behind_a_step() -> None:
    ending = Replay(scripted(), until_step=100).run()

    assert (ending.steps, ending.violation) == (100, "")


def test_what_is_violated_is_in_the_ending() -> None:
    recording = scripted((2.0, Crash(LEADER)), (3.0, Crash(1)))

    ending = run_recording(recording, check=nobody_leads_from(3))

    assert ending.violation == "Violation: 99: 1 leads term 3"
    assert 2.0 < ending.at < 3.0


def test_runs_that_differ_are_told_apart_by_their_checkpoints() -> None:
    ending = run_recording(scripted())
    *same, last = ending.checkpoints
    assert len(same) >= 2
    other = msgspec.structs.replace(ending, checkpoints=(*same, last[::-1]), digest="another")

    assert find_departure(ending, ending) is None
    assert find_departure(ending, other) == len(same) * CHECKPOINT_STEPS


# Forks.


def test_a_fork_is_the_same_up_to_its_step_and_another_run_behind_it() -> None:
    origin = drawn(2)

    forked = fork_recording(origin, after_step=300, seed=5)

    steps = [
        [(step.at, step.lines) for step, _ in look_at_steps(run, 0, 400, with_quiet=True)] for run in (origin, forked)
    ]
    assert steps[0][:300] == steps[1][:300]
    assert steps[0] != steps[1]
    assert forked.ending == run_recording(forked)
    assert forked.ending != run_recording(origin)


def test_equal_forks_are_equal_and_others_are_not() -> None:
    first, again, other = (fork_recording(drawn(2), after_step=300, seed=seed) for seed in (5, 5, 6))

    assert first == again
    assert first.ending != other.ending


def test_a_fork_may_be_forked_later_but_not_earlier() -> None:
    forked = fork_recording(drawn(2), after_step=300, seed=5)

    twice = fork_recording(forked, after_step=400, seed=6)

    assert twice.ending == run_recording(twice)
    with pytest.raises(InvalidSpec, match="forks after step 300 already"):
        fork_recording(forked, after_step=300, seed=7)


def test_behind_the_faults_there_is_nothing_to_draw() -> None:
    with pytest.raises(InvalidSpec, match="no step 1000001 before its faults end"):
        fork_recording(drawn(2), after_step=1_000_000, seed=5)


# Steps.


def test_steps_are_shown_from_anywhere_quiet_ones_only_on_demand() -> None:
    recording = scripted((2.0, Crash(LEADER)))

    told = [step for step, _ in look_at_steps(recording, 200, 5)]
    all_ = [step for step, _ in look_at_steps(recording, 200, 5, with_quiet=True)]

    assert [step.number for step in all_] == [200, 201, 202, 203, 204]
    assert len(told) == 5
    assert not any(step.is_quiet for step in told)
    assert all(step.number >= 200 for step in told)


def test_a_step_comes_with_all_members_at_its_end() -> None:
    recording = scripted((2.0, Crash(LEADER)))
    steps = list(look_at_steps(recording, 0, 2000))
    [(_, states)] = [(step, states) for step, states in steps if step.faults]

    assert states[LEADER].status == "down"
    assert str(states[LEADER]) == "member 2 is down"
    assert states[1].status == "follower"
    assert str(states[1]).startswith("member 1 follower: term 2, log 1..")
