"""What sealing the log costs: the same cluster beside one whose cipher hides nothing, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.contest import Arena, note
from benchmarks.harness.statistics import paired_ratios, spread
from benchmarks.harness.tables import figure, render
from benchmarks.ours.cluster import RaftswarmCluster

TITLE: Final = "Sealing"
MODES: Final = {"one": "one await each", "many": "propose_many"}
PLAIN_TEXT: Final = b"x" * 64
"""Of every command."""


async def measure(arena: Arena) -> dict[str, Any]:
    """Return runs of both; AssertionError if the files do not look as they should."""
    plan = arena.plan
    links = plan.links[0]
    options = plan.options(links)
    runs = []
    async with (
        arena.ours(options, title="sealed") as sealed,
        arena.ours(attrs.evolve(options, sealed=False), title="unsealed") as unsealed,
    ):
        for number in range(plan.rounds):
            for outstanding in plan.outstanding:
                for mode in MODES:
                    for cluster in (sealed, unsealed):
                        report = await cluster.load(mode, outstanding, plan.short_seconds)
                        title = cluster.title
                        runs.append(
                            {"entrant": title, "round": number, "mode": mode, "outstanding": outstanding, **report}
                        )
                        note(f"  round {number + 1}: {title}, {mode}, {outstanding}: {report['rate']:,.0f}/s")
        for cluster in (sealed, unsealed):
            await cluster.check()
        assert not shows_plain_text(sealed), "the sealed log can be read"
        assert shows_plain_text(unsealed), "the log is sealed all the same: measured something else"
    return {"links": links, "seconds": plan.short_seconds, "runs": runs}


def shows_plain_text(cluster: RaftswarmCluster) -> bool:
    """Tell whether commands can be read in any member's log."""
    segments = [path for path in Path(cluster.directory).glob("*/raft/log/*") if path.is_file()]
    assert segments, "there is no log where it is looked for"
    return any(PLAIN_TEXT in path.read_bytes() for path in segments)


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each kind of load."""
    rows = []
    runs = found["runs"]
    for mode, outstanding in dict.fromkeys((run["mode"], run["outstanding"]) for run in runs):
        rates: dict[str, dict[int, float]] = {"sealed": {}, "unsealed": {}}
        cpu: dict[str, list[float]] = {"sealed": [], "unsealed": []}
        for run in runs:
            if (run["mode"], run["outstanding"]) == (mode, outstanding):
                rates[run["entrant"]][run["round"]] = run["rate"]
                cpu[run["entrant"]].append(run["leader_cpu_micros"])
        ratio = spread(paired_ratios(rates["sealed"], rates["unsealed"]))
        rows.append(
            [
                MODES[mode],
                f"{outstanding:,}",
                *(figure(spread(list(rates[title].values())).median) for title in rates),
                f"{ratio.median:.3f}",
                f"{ratio.least:.3f} to {ratio.most:.3f}",
                *(figure(spread(cpu[title]).median) for title in cpu),
            ]
        )
    header = (
        "load",
        "outstanding",
        "sealed, commits/s",
        "unsealed",
        "ratio, median",
        "of pairs",
        "leader's CPU, us/command, sealed",
        "unsealed",
    )
    return f"Links: {found['links']}; runs of {found['seconds']:g} s.\n\n{render(header, rows)}"
