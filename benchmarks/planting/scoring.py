"""Tries bugs, each in a copy of the tree of its own, and adds up what was caught by what."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from benchmarks.harness.tables import figure
from benchmarks.planting.checks import Budget, Kind, checks_of
from benchmarks.planting.copies import scratch_copy
from benchmarks.planting.patches import AREAS, PlantedBug

CONTROL = 0
"""Number of the copy that has no bug."""
_SHOWN = 100


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one bug fared."""

    number: int
    label: str
    area: str
    code: str
    """Fingerprint of the code and the patch that were tried."""
    seeds_allowed: int
    seconds: float
    caught_by: str = ""
    """Empty when it was missed."""
    kind: str = ""
    """Of the check that caught it."""
    seeds: int = 0
    """Random worlds that were run."""
    cpu_seconds: float = 0.0
    """Of all checks up to the one that caught it."""
    error: str = ""
    """Why there is no verdict."""


def try_bug(bug: PlantedBug | None, budget: Budget, code: str) -> Outcome:
    """Plant a bug, or none, and run what has to find it until something does. Raises BadPatch."""
    checks = checks_of(bug.area if bug is not None else None, gate_only=budget.gate_only)
    caught_by, error = "", ""
    kind: Kind | None = None
    seeds, cpu_seconds = 0, 0.0
    with scratch_copy(bug) as copy:
        for check in checks:
            found = check.run(copy, budget)
            seeds += found.seeds
            cpu_seconds += found.cpu_seconds
            error = error or found.error
            if found.caught_by:
                caught_by, kind = found.caught_by, check.kind
                break
    return Outcome(
        number=CONTROL if bug is None else bug.number,
        label="control" if bug is None else bug.label,
        area="" if bug is None else bug.area,
        code=code,
        seeds_allowed=budget.seeds,
        seconds=budget.seconds,
        caught_by=caught_by,
        kind=kind or "",
        seeds=seeds,
        cpu_seconds=cpu_seconds,
        error="" if caught_by else error,
    )


def describe(outcome: Outcome) -> str:
    """Say in a line how a bug fared."""
    used = f"{outcome.seeds} seeds, {figure(outcome.cpu_seconds)} CPU s"
    if outcome.error:
        return f"{outcome.label}: no verdict after {used}: {outcome.error}"
    if outcome.number == CONTROL:
        return (
            f"control: {'no alarm' if not outcome.caught_by else 'FALSE ALARM'} in {used} {outcome.caught_by}".rstrip()
        )
    verdict = f"{outcome.kind}, {used}: {outcome.caught_by}" if outcome.caught_by else f"MISSED, {used}"
    return f"{outcome.label}: {verdict}"


def render_table(outcomes: Sequence[Outcome]) -> str:
    """Return the score as Markdown, bug by bug."""
    lines = ["| bug | area | caught by | seeds | CPU s |", "| --- | --- | --- | ---: | ---: |"]
    for outcome in outcomes:
        caught_by = _shorten(outcome.caught_by) or (f"no verdict: {outcome.error}" if outcome.error else "**missed**")
        seeds = str(outcome.seeds) if outcome.seeds else ""
        lines.append(f"| {outcome.label} | {outcome.area} | {caught_by} | {seeds} | {figure(outcome.cpu_seconds)} |")
    return "\n".join(lines)


def _shorten(text: str) -> str:
    text = text.removeprefix("Violation: ").replace("|", "/")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """All outcomes, added up."""

    bugs: int
    caught: int
    """By the gate: random worlds, and property tests."""
    caught_by_tests: int
    """By nothing but tests of the parts."""
    missed: list[str]
    without_verdict: list[str]
    by_area: dict[str, tuple[int, int]]
    """Caught by the gate, of how many."""
    by_kind: dict[str, int]
    median_seeds: float | None
    """Of those that random worlds caught."""
    most_seeds: int
    median_cpu_seconds: float | None
    """Of those that were caught."""
    cpu_seconds: float
    control: Outcome | None
    outcomes: list[Outcome]


def add_up(outcomes: Sequence[Outcome]) -> Score:
    """Add up what was tried; those that do not count are not among them."""
    bugs = [outcome for outcome in outcomes if outcome.number != CONTROL]
    by_kind = Counter(outcome.kind for outcome in bugs if outcome.caught_by)
    by_gate = [outcome for outcome in bugs if outcome.kind in {"worlds", "properties"}]
    seeds = [outcome.seeds for outcome in bugs if outcome.kind == "worlds"]
    caught_cpu = [outcome.cpu_seconds for outcome in bugs if outcome.caught_by]
    control = next((outcome for outcome in outcomes if outcome.number == CONTROL), None)
    return Score(
        bugs=len(bugs),
        caught=len(by_gate),
        caught_by_tests=by_kind["tests"],
        missed=[outcome.label for outcome in bugs if not outcome.caught_by and not outcome.error],
        without_verdict=[outcome.label for outcome in bugs if outcome.error],
        by_area={
            area: (sum(one.area == area for one in by_gate), sum(one.area == area for one in bugs)) for area in AREAS
        },
        by_kind=dict(sorted(by_kind.items())),
        median_seeds=statistics.median(seeds) if seeds else None,
        most_seeds=max(seeds, default=0),
        median_cpu_seconds=statistics.median(caught_cpu) if caught_cpu else None,
        cpu_seconds=sum(outcome.cpu_seconds for outcome in bugs),
        control=control,
        outcomes=list(outcomes),
    )


def render_score(score: Score) -> str:
    """Return the totals in a few lines."""
    areas = ", ".join(f"{area} {caught} of {bugs}" for area, (caught, bugs) in score.by_area.items() if bugs)
    lines = [
        f"caught {score.caught} of {score.bugs}: {areas}",
        "by " + ", by ".join(f"{kind}: {count}" for kind, count in score.by_kind.items()) if score.by_kind else "",
        f"median {figure(score.median_seeds)} seeds where worlds caught it, {score.most_seeds} at most",
        f"median {figure(score.median_cpu_seconds)} CPU s; {figure(score.cpu_seconds)} CPU s in all",
    ]
    if score.caught_by_tests:
        lines.append(f"{score.caught_by_tests} more were caught by tests of the parts alone")
    if score.missed:
        lines.append(f"missed: {', '.join(score.missed)}")
    if score.without_verdict:
        lines.append(f"no verdict: {', '.join(score.without_verdict)}")
    if score.control is not None:
        lines.append(describe(score.control))
    return "\n".join(filter(None, lines))
