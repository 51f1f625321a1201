"""A timeline as text: a column for each member, a row for each moment at which somebody's role or term changed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from raftswarm.lab.steps import Status
from raftswarm.lab.timeline.events import Mark, Span, Timeline

TIME_WIDTH = 21
"""Seconds and step."""
NAMES: Final[dict[Status, str]] = {"leader": "LEADER", "pre-candidate": "pre-vote"}
"""What stands out, and what would be too long."""
COLUMN_WIDTH = 20
SAME_MOMENT_SECONDS = 0.0005
"""Changes so close together stand in one row."""


def write_text(timeline: Timeline, *, marks: bool = True) -> Iterator[str]:
    """Write line by line; without `marks` only roles, terms and commit indexes."""
    members = timeline.members
    if timeline.title:
        yield timeline.title
    yield (
        "     time      step".ljust(TIME_WIDTH)
        + "".join(f"member {member}".ljust(COLUMN_WIDTH) for member in members).rstrip()
    )
    current: dict[int, Span] = {}
    shown_commits: dict[int, int] = dict.fromkeys(members, 0)
    commits = iter(timeline.commits)
    commit = next(commits, None)
    known: dict[int, int] = dict.fromkeys(members, 0)
    told: list[Span | Mark] = sorted(
        [*timeline.spans, *(mark for mark in timeline.marks if marks and mark.kind != "leader")], key=_when
    )
    for moment, things in groupby(told, key=_row):
        row = list(things)
        at = _when(row[0])
        while commit is not None and round(commit.at / SAME_MOMENT_SECONDS) <= moment:
            known[commit.member] = commit.index
            commit = next(commits, None)
        yield from (_write_mark(mark) for mark in row if isinstance(mark, Mark))
        spans = [span for span in row if isinstance(span, Span)]
        current |= {span.member: span for span in spans}
        if spans:
            cells = []
            for member in members:
                changed = any(span.member == member for span in spans)
                grown = known[member] != shown_commits[member]
                shown_commits[member] = known[member]
                cells.append(_write_cell(current.get(member), known[member] if grown else 0, changed=changed))
            yield (
                _write_moment(at, max(span.step for span in spans))
                + "".join(cell.ljust(COLUMN_WIDTH) for cell in cells).rstrip()
            )
    known |= {commit.member: commit.index for commit in timeline.commits}
    ends = "".join(f"commit {known[member]}".ljust(COLUMN_WIDTH) for member in members).rstrip()
    yield _write_moment(timeline.seconds) + ends


def _write_moment(at: float, step: int | None = None) -> str:
    return f"{at:9.3f} s {'' if step is None else step:>7}".ljust(TIME_WIDTH)


def _write_mark(mark: Mark) -> str:
    dash = "!!" if mark.kind == "violation" else "--"
    return f"{_write_moment(mark.at, mark.step)}{dash} {mark.text}"


def _write_cell(span: Span | None, commit: int, *, changed: bool) -> str:
    if span is None:
        return ""
    if not changed:
        quiet = "" if span.status == "down" else "|"
        return f"{quiet} commit {commit}" if commit else quiet
    if span.status == "down":
        return "down"
    name = NAMES.get(span.status, span.status)
    return f"{name} t{span.term}" + (f" c{commit}" if commit else "")


def _when(thing: Span | Mark) -> float:
    return thing.start if isinstance(thing, Span) else thing.at


def _row(thing: Span | Mark) -> int:
    return round(_when(thing) / SAME_MOMENT_SECONDS)
