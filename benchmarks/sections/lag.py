"""How late the leader's loop wakes who sleeps, under load: what holds it up holds up all else in the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.contest import Arena, note
from benchmarks.harness.load import LAG_SECONDS
from benchmarks.harness.statistics import spread
from benchmarks.harness.tables import figure, render

TITLE: Final = "Loop lag"
SECONDS: Final = 5.0
OUTSTANDING: Final = (1_000, 10_000)
FIGURES: Final = ("lag_p50_ms", "lag_p99_ms", "lag_max_ms")


async def measure(arena: Arena) -> dict[str, Any]:
    """Return runs with a sleeper in the leader; they are apart from those whose commits are counted."""
    plan = arena.plan
    links = plan.links[0]
    runs = []
    async with arena.ours(plan.options(links)) as cluster:
        for _ in range(min(plan.rounds, 3)):
            for mode in ("one", "many"):
                for outstanding in OUTSTANDING:
                    report = await cluster.load(mode, outstanding, min(plan.seconds, SECONDS), lag=True)
                    runs.append({"mode": mode, "outstanding": outstanding, **report})
                    note(f"  {mode}, {outstanding} outstanding: lag p99 {report['lag_p99_ms']:.1f} ms")
        await cluster.check()
    return {"links": links, "runs": runs}


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each kind of load."""
    rows = []
    runs = found["runs"]
    for mode, outstanding in dict.fromkeys((run["mode"], run["outstanding"]) for run in runs):
        chosen = [run for run in runs if (run["mode"], run["outstanding"]) == (mode, outstanding)]
        title = {"one": "one await each", "many": "propose_many"}[mode]
        cells = [figure(spread([run[name] for run in chosen]).median) for name in (*FIGURES, "rate")]
        rows.append([title, f"{outstanding:,}", *cells])
    header = ("load", "outstanding", "lag p50 ms", "p99", "max", "commits/s meanwhile")
    sleeper = f"A task in the leader sleeps {LAG_SECONDS * 1000:.0f} ms again and again; lag is how late it wakes."
    return f"{sleeper} Links: {found['links']}; medians of runs.\n\n{render(header, rows)}"
