"""The pictures of a report's page, as SVG that takes its colours from the page. Pointing at a part tells more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

from raftswarm.lab.chaos.report import Report, Sight, Strike

WIDTH: Final = 1040
LEFT: Final = 56
RIGHT: Final = 16
PLOT: Final = WIDTH - LEFT - RIGHT
LETTER: Final = 6.2
"""About as wide as a letter of the labels."""
TICK_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
CEILINGS: Final = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    40,
    50,
    60,
    80,
    100,
    150,
    200,
    300,
    400,
    500,
    1000,
)
"""Round numbers for axes to end with."""
DOT: Final = 5


def draw_calls(report: Report) -> str:
    """Draw calls per second over time: writes, reads and failures, with faults behind and outages below."""
    top, height = 46, 190
    width = _slice_seconds(report)
    series = [
        ("reads", [one.reads / width for one in report.slices]),
        ("writes", [one.writes / width for one in report.slices]),
        ("failures", [one.failures / width for one in report.slices]),
    ]
    most = _ceiling(max((value for _, values in series for value in values), default=1.0))
    x_of, y_of = _across(report.seconds), _upward(top, height, most)

    def body() -> Iterator[str]:
        yield from _bands(report.strikes, x_of, top, height)
        yield from _grid(most, y_of)
        for name, values in series:
            points = [(x_of(one.at + width / 2), y_of(value)) for one, value in zip(report.slices, values, strict=True)]
            yield _line(points, f"line {name}")
        for began, ended in report.outages:
            told = f"no write for {ended - began:.2f} s, from {began:.2f} s"
            yield _box(x_of(began), top + height + 3, max(x_of(ended) - x_of(began), 2), 6, "outage", told)
        yield from _time_axis(report.seconds, x_of, top + height + 10)

    return _svg(top + height + 40, body(), "Calls per second, with faults and outages")


def draw_swarm(report: Report) -> str:
    """Draw who led, and how many replicas ran on nodes that were ready, over time."""
    top, lane, height = 26, 22, 100
    x_of = _across(report.seconds)
    plot = top + lane + 14
    y_of = _upward(plot, height, float(report.replicas))

    def body() -> Iterator[str]:
        yield from _bands(report.strikes, x_of, plot, height, names=False)
        yield _text(LEFT - 8, top + lane - 7, "leader", "end")
        for began, ended, leader in _leaders(report.sights, report.seconds):
            width = x_of(ended) - x_of(began)
            yield _box(x_of(began) + 1, top, max(width - 2, 1), lane, "leader", f"{leader} led from {began:.1f} s on")
            if len(leader) * LETTER < width:
                yield _text(x_of(began) + 6, top + lane - 7, leader, "start", "inside")
        yield from _grid(float(report.replicas), y_of, count=2)
        for name, numbers in (
            ("running", [sight.running for sight in report.sights]),
            ("ready", [sight.ready for sight in report.sights]),
        ):
            yield _line(_steps(report.sights, numbers, x_of, y_of, report.seconds), f"line {name}")
        yield from _time_axis(report.seconds, x_of, plot + height)

    return _svg(plot + height + 30, body(), "Leader, replicas that run and nodes that are ready")


def draw_times(report: Report) -> str:
    """Draw how long failovers and convergences took, a dot for each, with their medians."""
    rows = [
        ("failover", [(one.failover_seconds, one) for one in report.strikes if one.failover_seconds is not None]),
        (
            "convergence",
            [(one.convergence_seconds, one) for one in report.strikes if one.convergence_seconds is not None],
        ),
    ]
    row_height, top = 46, 12
    most = _ceiling(max([seconds for _, dots in rows for seconds, _ in dots] or [1.0]))
    left = 96

    def x_of(seconds: float) -> float:
        return left + seconds / most * (WIDTH - left - RIGHT - 30)

    def body() -> Iterator[str]:
        floor = top + row_height * len(rows)
        for tick in _ticks(most):
            yield f'<path class="grid" d="M{x_of(tick):.1f} {top}V{floor}"/>'
            yield _text(x_of(tick), floor + 16, f"{tick:g} s", "middle")
        for row, (name, dots) in enumerate(rows):
            y = top + row_height * row + row_height / 2
            yield _text(left - 10, y + 4, name, "end")
            ordered = sorted(seconds for seconds, _ in dots)
            for seconds, strike in dots:
                told = f"{seconds:.2f} s: {strike.text} ({strike.nodes[0]}), at {strike.began:.1f} s"
                place = f'cx="{x_of(seconds):.1f}" cy="{y:.1f}" r="{DOT}"'
                yield f'<circle class="dot {name}" {place}>{_title(told)}</circle>'
            if ordered:
                median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
                told = f"median {median:.2f} s"
                yield f'<path class="median" d="M{x_of(median):.1f} {y - 15:.1f}v30">{_title(told)}</path>'
                yield _text(x_of(median) + 5, y - 9, told, "start")
            else:
                yield _text(left + 6, y + 4, "none", "start")

    return _svg(top + row_height * len(rows) + 28, body(), "How long failovers and convergences took")


# Particulars.


def _slice_seconds(report: Report) -> float:
    return report.slices[1].at - report.slices[0].at if len(report.slices) > 1 else report.seconds


def _leaders(sights: Sequence[Sight], seconds: float) -> Iterator[tuple[float, float, str]]:
    """From when to when who was seen to lead."""
    began, leader = 0.0, ""
    for sight in sights:
        if sight.leader != leader:
            if leader:
                yield began, sight.at, leader
            began, leader = sight.at, sight.leader
    if leader and began < seconds:
        yield began, seconds, leader


def _steps(
    sights: Sequence[Sight],
    numbers: Sequence[int],
    x_of: Callable[[float], float],
    y_of: Callable[[float], float],
    seconds: float,
) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for sight, number in zip(sights, numbers, strict=True):
        at = min(sight.at, seconds)
        if points:
            points.append((x_of(at), points[-1][1]))
        points.append((x_of(at), y_of(number)))
    return points


def _across(seconds: float) -> Callable[[float], float]:
    return lambda at: LEFT + min(at, seconds) / seconds * PLOT


def _upward(top: float, height: float, most: float) -> Callable[[float], float]:
    return lambda value: top + height - min(value, most) / most * height


def _ceiling(most: float) -> float:
    """The next round number."""
    if most <= 0:
        return 1.0
    return next((step for step in CEILINGS if most <= step), most)


def _ticks(most: float, count: int = 10) -> list[float]:
    step = next((step for step in TICK_STEPS if most / step <= count), most)
    return [number * step for number in range(int(most / step + 1e-9) + 1)]


def _bands(
    strikes: Sequence[Strike], x_of: Callable[[float], float], top: float, height: float, *, names: bool = True
) -> Iterator[str]:
    """A band for each fault; its name above, a line lower where it would run into the one before."""
    reached = [0.0, 0.0]
    for strike in strikes:
        left, width = x_of(strike.began), max(x_of(strike.ended) - x_of(strike.began), 2)
        told = f"{strike.text} ({', '.join(strike.nodes)}), {strike.began:.1f} to {strike.ended:.1f} s"
        yield _box(left, top, width, height, "band hit" if strike.took_leader else "band", told)
        line = 0 if reached[0] <= left else 1
        if names and reached[line] <= left:
            reached[line] = left + (len(strike.kind) + 1) * LETTER
            yield f'<path class="stem" d="M{left:.1f} {top}V{top - 12 - 14 * line:.1f}"/>'
            yield _text(left + 3, top - 6 - 14 * line, strike.kind, "start")


def _grid(most: float, y_of: Callable[[float], float], count: int = 4) -> Iterator[str]:
    for tick in _ticks(most, count) if most >= 1 else [0.0, most]:
        yield f'<path class="grid" d="M{LEFT} {y_of(tick):.1f}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, y_of(tick) + 4, f"{tick:g}", "end")


def _time_axis(seconds: float, x_of: Callable[[float], float], y: float) -> Iterator[str]:
    for tick in _ticks(seconds, 12):
        yield _text(x_of(tick), y + 16, f"{tick:g} s", "middle")


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Draw one, with the points left out that lie on it."""
    kept = [points[0]] if points else []
    for (_, y), (x, here), (_, after) in zip(points, points[1:], points[2:], strict=False):
        if not y == here == after:
            kept.append((x, here))
    kept += points[-1:]
    return f'<path class="{kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in kept)}"/>' if kept else ""


def _box(x: float, y: float, width: float, height: float, kind: str, told: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2">'
        f"{_title(told)}</rect>"
    )


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _title(told: str) -> str:
    return f"<title>{escape(told)}</title>"


def _svg(height: float, body: Iterator[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">\n'
        + "\n".join(body)
        + "\n</svg>"
    )
