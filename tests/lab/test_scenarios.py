"""Scenarios show what their titles say, on the engine as it is."""

from __future__ import annotations

import pytest

from raftswarm.lab.scenarios import SCENARIOS
from raftswarm.lab.timeline import Timeline, draw_timeline


def show(name: str) -> Timeline:
    timeline, ending = draw_timeline(SCENARIOS[name])
    assert not ending.violation
    return timeline


def list_leaders(timeline: Timeline) -> list[int]:
    return [span.member for span in timeline.spans if span.status == "leader"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_strikes_and_entries_are_committed_to_the_end(name: str) -> None:
    scenario = SCENARIOS[name]

    timeline = show(name)

    struck = {mark.at for mark in timeline.marks if mark.kind == "fault"}
    assert struck == {event.at for event in scenario.faults}
    assert max(commit.at for commit in timeline.commits) > scenario.seconds - 1


def test_a_leader_that_crashes_is_replaced_and_follows() -> None:
    timeline = show("failover")

    assert list_leaders(timeline)[0] == 2
    assert len(list_leaders(timeline)) == 2
    assert [span.status for span in timeline.spans if span.member == 2][-1] == "follower"


def test_a_leader_alone_gives_up_and_follows_another() -> None:
    timeline = show("partition")

    first, second = list_leaders(timeline)
    assert first == 4 != second
    deposed = [span.status for span in timeline.spans if span.member == 4]
    assert deposed[deposed.index("leader") + 1 :][0] == "follower"


def test_a_leader_that_sleeps_wakes_up_as_a_leader_and_is_deposed() -> None:
    timeline = show("pause")

    statuses = [span.status for span in timeline.spans if span.member == 2]
    assert statuses[statuses.index("paused") :] == ["paused", "leader", "follower"] or statuses[-1] == "follower"


def test_who_was_away_for_long_gets_a_snapshot() -> None:
    assert [mark.member for mark in show("snapshot").marks if mark.kind == "snapshot"] == [1]


def test_leadership_goes_to_whom_it_is_handed() -> None:
    assert list_leaders(show("transfer"))[:2] == [2, 3]


def test_members_come_learn_vote_and_go() -> None:
    timeline = show("members")

    changes = [mark.text.partition(" from now on")[0] for mark in timeline.marks if mark.kind == "members"]
    assert changes == ["voters 1 2 3, learners 4", "voters 1 2 3 4", "voters 1 3 4"]
    assert list_leaders(timeline)[-1] != 2


def test_in_a_quiet_cluster_the_first_leader_stays() -> None:
    assert list_leaders(show("quiet")) == [2]
