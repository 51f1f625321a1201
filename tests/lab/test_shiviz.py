"""Logs for ShiViz: its usual expression reads every event, and clocks are those of Lamport's happened-before."""

from __future__ import annotations

import json
import re

from raftswarm.lab.fault_events import Crash
from raftswarm.lab.shiviz import write_shiviz
from tests.lab.recorded import LEADER, scripted

EXPRESSION = re.compile(r"(?P<event>.*)\n(?P<host>\S*) (?P<clock>{.*})")


def test_clocks_count_own_events_and_know_those_of_whoever_was_heard() -> None:
    lines = list(write_shiviz(scripted((2.0, Crash(LEADER)), seconds=4.0)))
    events = EXPRESSION.findall("\n".join(lines))
    assert 2 * len(events) == len(lines) > 100

    own: dict[str, int] = {}
    for _, host, clock in events:
        known = json.loads(clock)
        own[host] = own.get(host, 0) + 1
        assert known[host] == own[host]
        assert all(count <= own[other] for other, count in known.items())
    [(_, _, won)] = [event for event in events if "is the leader in term 2" in event[0]]
    assert set(json.loads(won)) > {"member-2"}


def test_heartbeats_are_left_out_unless_they_are_asked_for() -> None:
    recording = scripted(seconds=2.0)

    assert not [line for line in write_shiviz(recording) if "heartbeat" in line]
    assert [line for line in write_shiviz(recording, heartbeats=True) if "heartbeat" in line]


def test_a_part_is_written_alone() -> None:
    lines = list(write_shiviz(scripted(seconds=3.0), start=1.0, end=2.0))

    assert all(1.0 <= float(line.partition(" ")[0]) <= 2.0 for line in lines[::2])
