"""A timeline as a picture: a lane for each member, roles as colours, faults as triangles, commit indexes as a line.

Pointing at a part tells more about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log10
from typing import Final

from raftswarm.lab import svg
from raftswarm.lab.steps import Status
from raftswarm.lab.timeline.events import Mark, MarkKind, Span, Timeline

WIDTH: Final = 1200
LEFT: Final = 90
RIGHT: Final = 20
TOP: Final = 66
LANE: Final = 64
BAR: Final = 26
FAULT_LANE: Final = 26
BOTTOM: Final = 40
LEAST_TEXT: Final = 26
"""A span narrower than this has no room for its term."""
TICKS: Final = 10

COLOURS: Final[dict[Status, str]] = {
    "follower": "#c9d4de",
    "pre-candidate": "#f9dc8f",
    "candidate": "#f28e2b",
    "leader": "#2f6fb3",
    "paused": "#b9a3d6",
    "down": "#ffffff",
}
MARKS: Final[dict[MarkKind, str]] = {
    "fault": "#c62828",
    "leader": "#2f6fb3",
    "members": "#2e7d32",
    "snapshot": "#6a4a3a",
    "violation": "#d50000",
}


def draw_svg(timeline: Timeline) -> str:
    """Return the picture, a whole SVG file."""
    return "\n".join(_Drawing(timeline).draw()) + "\n"


class _Drawing:
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._start = timeline.start
        self._seconds = (timeline.seconds - timeline.start) or 1.0
        self._rows = {member: row for row, member in enumerate(timeline.members)}
        self._floor = TOP + FAULT_LANE + LANE * len(self._rows)

    def draw(self) -> Iterator[str]:
        """Draw from back to front."""
        height = self._floor + BOTTOM
        yield svg.begin(WIDTH, height)
        yield svg.text(LEFT, 22, self._timeline.title or "Timeline", size=16)
        yield from self._draw_legend()
        yield from self._draw_axis()
        yield from (self._draw_span(span) for span in self._timeline.spans)
        for member, row in self._rows.items():
            yield svg.text(LEFT - 10, self._lane(row) + BAR / 2 + 4, f"member {member}", anchor="end")
            yield self._draw_commits(member, row)
        yield from (self._draw_mark(mark) for mark in self._timeline.marks)
        yield svg.end()

    def _x(self, at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, at - self._start) / self._seconds

    def _lane(self, row: int) -> float:
        return TOP + FAULT_LANE + row * LANE

    def _draw_legend(self) -> Iterator[str]:
        x = LEFT
        for status, colour in COLOURS.items():
            yield f'<rect x="{x}" y="34" width="14" height="14" fill="{colour}" stroke="#90a4ae"/>'
            yield svg.text(x + 19, 45, status)
            x += 40 + 7 * len(status)
        yield svg.triangle(x + 6, 48, MARKS["fault"], "something befell a member, a link or the cluster")
        yield svg.text(x + 19, 45, "fault")
        yield f'<path d="M{x + 72} 48h10v-8h10" fill="none" stroke="#37474f"/>'
        yield svg.text(x + 98, 45, "commit index")

    def _draw_axis(self) -> Iterator[str]:
        step = _choose_tick(self._seconds)
        for number in range(ceil(self._start / step), int((self._start + self._seconds) / step) + 1):
            at = number * step
            x = self._x(at)
            yield f'<path d="M{x:.1f} {TOP}V{self._floor}" stroke="{svg.GRID}"/>'
            yield svg.text(x, self._floor + 18, f"{at:g} s", anchor="middle")

    def _draw_span(self, span: Span) -> str:
        x, y = self._x(span.start), self._lane(self._rows[span.member])
        width = max(self._x(span.end) - x, 0.8)
        told = f"member {span.member}: {span.status}"
        if span.status != "down":
            told += f" in term {span.term}"
        told += f", {span.start:.3f} to {span.end:.3f} s, from step {span.step} on"
        colour = COLOURS[span.status]
        bar = svg.bar(x, y, width, BAR, colour, told, dashed=span.status == "down")
        if width < LEAST_TEXT or span.status == "down":
            return bar
        ink = "#ffffff" if span.status == "leader" else svg.INK
        return bar + svg.text(x + 4, y + BAR / 2 + 4, f"t{span.term}", ink=ink)

    def _draw_commits(self, member: int, row: int) -> str:
        """Draw a line below the bar that rises with the commit index."""
        highest = max((commit.index for commit in self._timeline.commits), default=0)
        bottom, top = self._lane(row) + LANE - 8, self._lane(row) + BAR + 4
        path = [f"M{self._x(self._start):.1f} {bottom:g}"]
        last = 0
        for commit in self._timeline.commits:
            if commit.member == member:
                last = commit.index
                path.append(f"H{self._x(commit.at):.1f}V{bottom - (bottom - top) * last / highest:.1f}")
        path.append(f"H{WIDTH - RIGHT}")
        told = svg.title(f"member {member} knows entry {last} to be committed")
        return f'<path d="{"".join(path)}" fill="none" stroke="#37474f">{told}</path>'

    def _draw_mark(self, mark: Mark) -> str:
        x = self._x(mark.at)
        words = f"{mark.at:.3f} s, step {mark.step}: {mark.text}"
        told = svg.title(words)
        colour = MARKS[mark.kind]
        if mark.kind == "violation":
            line = f'<path d="M{x:.1f} {TOP}V{self._floor}" stroke="{colour}" stroke-width="2">{told}</path>'
            anchor = "end" if x > WIDTH / 2 else "start"
            return line + svg.text(x, TOP - 4, mark.text[:120], anchor=anchor, ink=colour)
        row = self._rows.get(mark.member)
        if mark.kind == "leader" and row is not None:
            return f'<path d="M{x:.1f} {self._lane(row):g}v{BAR}" stroke="#0b2545" stroke-width="2">{told}</path>'
        y = TOP + FAULT_LANE - 8 if row is None else self._lane(row)
        return svg.triangle(x, y, colour, words)


def _choose_tick(seconds: float) -> float:
    """Return a round distance between ticks, such that there are about `TICKS`."""
    power = 10.0 ** ceil(log10(seconds / TICKS))
    return next(power * share for share in (0.2, 0.5, 1.0) if seconds / (power * share) <= TICKS)
