"""How many linearizable reads a second: by read round and by lease, in the leader and over the network, and etcd's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, cast

import attrs

from benchmarks.contest import MOST_FOR_PEERS, Arena, note
from benchmarks.harness.clusters import Cluster, Fillable
from benchmarks.harness.statistics import paired_ratios, spread
from benchmarks.harness.tables import factor, figure, render

TITLE: Final = "Linearizable reads"

PAIRS: Final = (
    ("by read round, in the leader", "etcd-embedded"),
    ("by lease, in the leader", "etcd-embedded"),
    ("by read round, network client", "etcd"),
    ("by lease, network client", "etcd"),
)


async def measure(arena: Arena) -> dict[str, Any]:
    """Return runs; that each read found its value is checked where it is made."""
    plan = arena.plan
    runs: list[dict[str, Any]] = []
    links = plan.links[0]
    async with AsyncExitStack() as stack:
        rounds = await stack.enter_async_context(arena.ours(plan.options(links)))
        lease = await stack.enter_async_context(arena.ours(attrs.evolve(plan.options(links), lease_reads=True)))
        entrants: list[tuple[str, Cluster, str]] = [
            ("by read round, in the leader", rounds, "read"),
            ("by lease, in the leader", lease, "read"),
        ]
        if "etcd-embedded" in plan.peers:
            rival = await stack.enter_async_context(arena.rival("etcd-embedded", links))
            entrants.append(("etcd-embedded", rival, "read"))
        entrants += [
            ("by read round, network client", rounds, "client read"),
            ("by lease, network client", lease, "client read"),
        ]
        if "etcd" in plan.peers:
            rival = await stack.enter_async_context(arena.rival("etcd", links))
            entrants.append(("etcd", rival, "client read"))
        for cluster in {id(cluster): cluster for _, cluster, _ in entrants}.values():
            await cast("Fillable", cluster).fill(plan.payload.keys)
        for number in range(plan.rounds):
            for outstanding in plan.outstanding:
                for title, cluster, mode in entrants:
                    if outstanding > MOST_FOR_PEERS:
                        continue
                    report = await cluster.load(mode, outstanding, plan.short_seconds)
                    runs.append({"entrant": title, "round": number, "outstanding": outstanding, **report})
                    note(f"  round {number + 1}: {title}, {outstanding} outstanding: {report['rate']:,.0f}/s")
    return {"links": links, "seconds": plan.short_seconds, "runs": runs}


def show(found: Mapping[str, Any]) -> str:
    """Return ratios, then each entrant's figures."""
    runs = found["runs"]
    rows = []
    for mine, theirs in PAIRS:
        for outstanding in dict.fromkeys(run["outstanding"] for run in runs):
            own, other = _rates(runs, mine, outstanding), _rates(runs, theirs, outstanding)
            ratios = paired_ratios(own, other)
            ratio = spread(ratios) if ratios else None
            rows.append(
                [
                    f"{mine}, against {theirs}",
                    f"{outstanding:,}",
                    figure(spread(list(own.values())).median),
                    figure(spread(list(other.values())).median if other else None),
                    factor(ratio.median if ratio else None),
                    figure(_median(runs, mine, outstanding, "latency_p99_ms")),
                    figure(_median(runs, mine, outstanding, "leader_cpu_micros")),
                ]
            )
    header = ("what", "outstanding", "ours, reads/s", "theirs", "ratio, median", "p99 ms", "leader's CPU, us/read")
    return f"Links: {found['links']}; runs of {found['seconds']:g} s.\n\n" + render(header, rows)


def _rates(runs: Sequence[Mapping[str, Any]], entrant: str, outstanding: int) -> dict[int, float]:
    return {
        run["round"]: run["rate"] for run in runs if run["entrant"] == entrant and run["outstanding"] == outstanding
    }


def _median(runs: Sequence[Mapping[str, Any]], entrant: str, outstanding: int, name: str) -> float:
    return spread([run[name] for run in runs if run["entrant"] == entrant and run["outstanding"] == outstanding]).median
