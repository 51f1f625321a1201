"""A long run at 1,000 outstanding: memory and latency are to stay flat, the disk bounded, and nobody is elected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from benchmarks.contest import Arena, note
from benchmarks.harness.processes import Report
from benchmarks.harness.statistics import spread
from benchmarks.harness.tables import figure, render
from benchmarks.ours.cluster import RaftswarmCluster

TITLE: Final = "Soak"
OUTSTANDING: Final = 1_000
SAMPLE_SECONDS: Final = 10.0
PARTS: Final = 6
MEGABYTE: Final = 1_000_000


async def measure(arena: Arena) -> dict[str, Any]:
    """Return the load's intervals, and what was seen from outside meanwhile."""
    plan = arena.plan
    links = plan.links[0]
    every = min(SAMPLE_SECONDS, plan.soak_seconds / PARTS)
    samples: list[dict[str, Any]] = []
    async with arena.ours(plan.options(links)) as cluster:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sample, cluster, every, samples)
            report = await cluster.load("one", OUTSTANDING, plan.soak_seconds, interval_seconds=every)
            nursery.cancel_scope.cancel()
        check = await cluster.check()
    segments = {(name, place) for sample in samples for name, place in sample.pop("segments")}
    return {
        "links": links,
        "seconds": plan.soak_seconds,
        "report": report,
        "samples": samples,
        "segments": len({name for name, _ in segments}),
        "segment_files": len({place for _, place in segments}),
        "check": check,
    }


async def _sample(cluster: RaftswarmCluster, every: float, samples: list[dict[str, Any]]) -> None:
    while True:
        await trio.sleep(every)
        files = [path for path in cluster.directory.rglob("*") if path.is_file()]
        sizes, segments = [], []
        for path in files:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            sizes.append(status.st_blocks * 512)
            if path.parent.name == "log":
                segments.append((str(path.relative_to(cluster.directory)), status.st_ino))
        memory = [member.memory_bytes()["resident"] for member in cluster.members]
        samples.append({"memory": memory, "disk_bytes": sum(sizes), "segments": segments})
        note(f"  memory {'/'.join(f'{one / MEGABYTE:.0f}' for one in memory)} MB, disk {sum(sizes) / MEGABYTE:.0f} MB")


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each part of the time."""
    intervals, samples = found["report"]["intervals"], found["samples"]
    rows = []
    for part in range(PARTS):
        chosen, seen = _part(intervals, part), _part(samples, part)
        if chosen and seen:
            rows.append(
                [
                    f"{part + 1} of {PARTS}",
                    *(figure(spread([one[name] for one in chosen]).median) for name in ("rate", "latency_p50_ms")),
                    figure(spread([one["latency_p99_ms"] for one in chosen]).median),
                    figure(max(one["latency_max_ms"] for one in chosen)),
                    figure(spread([max(one["memory"]) for one in seen]).median / MEGABYTE),
                    figure(max(one["disk_bytes"] for one in seen) / MEGABYTE),
                ]
            )
    header = ("part", "commits/s", "p50 ms", "p99 ms", "worst ms", "largest member, MB", "disk of all three, MB")
    report = found["report"]
    summary = (
        f"{found['seconds']:g} s at {OUTSTANDING:,} outstanding, links: {found['links']}: {report['acknowledged']:,} "
        f"commands, {report['failures']:,} refused, {report['elections']} elections; {found['segments']:,} "
        f"segments were seen, in {found['segment_files']:,} files."
    )
    return f"{summary}\n\n{render(header, rows)}"


def _part(rows: Sequence[Report], part: int) -> Sequence[Report]:
    return rows[len(rows) * part // PARTS : len(rows) * (part + 1) // PARTS]
