"""Two runs are compared step by step: the first that differs is shown, with what everybody was."""

from __future__ import annotations

import msgspec

from raftswarm.lab.comparing import find_difference
from raftswarm.lab.fault_events import Crash, JumpWall
from raftswarm.lab.replaying import fork_recording
from tests.lab.recorded import LEADER, drawn, scripted


def test_a_run_does_not_differ_from_itself() -> None:
    assert find_difference(drawn(2), drawn(2)) is None


def test_runs_part_where_a_fault_strikes_only_one_of_them() -> None:
    calm, struck = scripted(seconds=3.0), scripted((2.0, Crash(LEADER)), seconds=3.0)

    difference = find_difference(calm, struck)

    assert difference is not None
    assert [state.status for state in difference.before] == ["follower", "leader", "follower"]
    assert [state.status for state in difference.one.states] == ["follower", "leader", "follower"]
    assert [state.status for state in difference.other.states] == ["follower", "down", "follower"]
    assert difference.one.at == difference.other.at < 2.0
    assert any("Crash" in line for line in difference.other.lines)


def test_runs_part_behind_a_fork() -> None:
    origin = drawn(1)

    difference = find_difference(origin, fork_recording(origin, after_step=300, seed=5))

    assert difference is not None
    assert difference.step > 300


def test_a_run_that_ends_sooner_differs_where_it_ends() -> None:
    long = scripted(seconds=3.0)
    short = msgspec.structs.replace(long, seconds=2.0)

    for one, other in ((long, short), (short, long)):
        difference = find_difference(one, other)

        assert difference is not None
        assert "the run is over" in {difference.one.event, difference.other.event}


def test_a_fault_that_changes_no_role_is_a_difference_too() -> None:
    assert find_difference(scripted(), scripted((2.0, JumpWall(1, 60.0)))) is not None
