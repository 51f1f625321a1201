"""Timelines: spans of roles, marks of faults, and both of their forms."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from raftswarm.lab.fault_events import Crash, Cut, Start
from raftswarm.lab.timeline import Mark, Span, Timeline, draw_svg, draw_timeline, write_text
from raftswarm.lab.timeline.events import Commit
from tests.lab.recorded import LEADER, drawn, scripted

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def failover() -> Timeline:
    return draw_timeline(scripted((2.0, Crash(LEADER)), (3.0, Start(LEADER)), (3.5, Cut(1, 3)), (3.5, Cut(3, 1))))[0]


def test_the_spans_of_a_member_follow_one_another_without_gaps(failover: Timeline) -> None:
    for member in failover.members:
        spans = [span for span in failover.spans if span.member == member]
        assert spans[0].start == 0.0
        assert spans[-1].end == failover.seconds
        assert all(one.end == other.start for one, other in pairwise(spans))


def test_a_crash_is_a_span_between_the_faults(failover: Timeline) -> None:
    [down] = [span for span in failover.spans if span.status == "down"]

    assert (down.member, down.start, down.end) == (LEADER, 2.0, 3.0)


def test_faults_of_one_moment_and_kind_share_a_mark(failover: Timeline) -> None:
    marks = [(mark.at, mark.text, mark.member) for mark in failover.marks if mark.kind == "fault"]

    assert marks == [(2.0, "crash member 2", 2), (3.0, "start member 2", 2), (3.5, "cut 1 -> 3, 3 -> 1", 0)]


def test_commit_indexes_rise_while_a_member_runs(failover: Timeline) -> None:
    for member in (1, 3):
        indexes = [commit.index for commit in failover.commits if commit.member == member]
        assert indexes == sorted(set(indexes))
        assert indexes[-1] > 10


def test_a_part_begins_and_ends_where_it_should(failover: Timeline) -> None:
    part = failover.between(1.5, 2.5)

    assert {mark.text for mark in part.marks if mark.kind == "fault"} == {"crash member 2"}
    assert min(span.start for span in part.spans) == 1.5
    assert max(span.end for span in part.spans) == 2.5


SMALL = Timeline(
    title="a <title>",
    seconds=4.0,
    spans=[
        Span(1, 0.0, 4.0, "follower", 1, 0),
        Span(2, 0.0, 1.0, "follower", 1, 0),
        Span(2, 1.0, 3.0, "leader", 2, 90),
        Span(2, 3.0, 4.0, "down", 0, 200),
    ],
    marks=[Mark(3.0, 200, "fault", "crash member 2", 2), Mark(4.0, 250, "violation", "99: so")],
    commits=[Commit(1.5, 2, 7), Commit(1.6, 1, 6)],
)


def test_text_has_a_column_for_each_member_and_a_row_for_each_change() -> None:
    assert list(write_text(SMALL)) == [
        "a <title>",
        "     time      step  member 1            member 2",
        "    0.000 s       0  follower t1         follower t1",
        "    1.000 s      90  |                   LEADER t2",
        "    3.000 s     200  -- crash member 2",
        "    3.000 s     200  | commit 6          down",
        "    4.000 s     250  !! 99: so",
        "    4.000 s          commit 6            commit 7",
    ]


def test_a_picture_is_one_file_with_a_bar_for_each_span() -> None:
    picture = ET.fromstring(draw_svg(SMALL))

    titles = [title.text for title in picture.iter(f"{SVG}title")]
    assert "member 2: leader in term 2, 1.000 to 3.000 s, from step 90 on" in titles
    assert "3.000 s, step 200: crash member 2" in titles
    assert "a <title>" in [text.text for text in picture.iter(f"{SVG}text")]
    assert not [name for element in picture.iter() for name in element.attrib if "href" in name]


@pytest.mark.parametrize("seed", range(1, 5))
def test_random_worlds_can_be_drawn(seed: int) -> None:
    timeline, ending = draw_timeline(drawn(seed))

    assert not ending.violation
    assert ET.fromstring(draw_svg(timeline)).tag == f"{SVG}svg"
    assert list(write_text(timeline))


def test_an_empty_run_can_be_drawn() -> None:
    assert draw_svg(Timeline())
    assert list(write_text(Timeline()))
