"""How many commands a second are committed, ours and rivals' in turn, and what each costs.

Each round has new clusters and goes through the numbers of outstanding commands; for each, all entrants are measured
one right after the other. Ratios are of such pairs, and their median is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.contest import ENTRANTS, OURS, PAIRS, Arena, note
from benchmarks.harness.statistics import paired_ratios, spread
from benchmarks.harness.surroundings import load_average
from benchmarks.harness.tables import factor, figure, render
from benchmarks.ours.cluster import RaftswarmCluster

TITLE: Final = "Commits"
LINKS: Final = {"tls": "mutual TLS on all links, the log sealed", "plain": "plain TCP, the log sealed"}

Run = dict[str, Any]


async def measure(arena: Arena) -> dict[str, Any]:
    """Return runs, a row each, and what the checks found."""
    plan = arena.plan
    found: dict[str, Any] = {"runs": [], "checks": []}
    for links in plan.links:
        # The plain table is there to compare with: three rounds for five of the one that counts.
        rounds = plan.rounds if links == plan.links[0] else max(1, plan.rounds * 3 // 5)
        for number in range(rounds):
            await _measure_round(arena, links, number, found, is_last=number == rounds - 1)
    return found


async def _measure_round(arena: Arena, links: str, number: int, found: dict[str, Any], *, is_last: bool) -> None:
    plan = arena.plan
    families = {entrant.family for outstanding in plan.outstanding for entrant in plan.entrants(links, outstanding)}
    async with arena.clusters(families, links) as clusters:
        for outstanding in plan.outstanding:
            for entrant in plan.entrants(links, outstanding):
                load_before = load_average()
                report = await clusters[entrant.family].load(entrant.mode, outstanding, plan.seconds)
                run = {
                    "links": links,
                    "round": number,
                    "entrant": entrant.title,
                    "outstanding": outstanding,
                    "load_before": load_before,
                    "load_after": load_average(),
                    **report,
                }
                found["runs"].append(run)
                note(
                    f"  {links} round {number + 1}: {entrant.title}, {outstanding} outstanding: {run['rate']:,.0f}/s, "
                    f"load {load_before:.2f} before and {run['load_after']:.2f} after"
                )
        for family, cluster in clusters.items():
            check = await cluster.check()
            if is_last and isinstance(cluster, RaftswarmCluster):
                check["after_all_were_killed"] = await cluster.check_after_crash()
            found["checks"].append({"links": links, "round": number, "cluster": family, **check})


def show(found: Mapping[str, Any]) -> str:
    """Return the tables: ratios first, then what they come from."""
    parts = []
    runs: list[Run] = found["runs"]
    for links in dict.fromkeys(run["links"] for run in runs):
        chosen = [run for run in runs if run["links"] == links]
        parts += [f"### {LINKS[links]}", _show_ratios(chosen), _show_figures(chosen)]
    parts.append(_show_checks(found["checks"], runs))
    return "\n\n".join(part for part in parts if part)


def _rates(runs: Sequence[Run], entrant: str, outstanding: int) -> dict[int, float]:
    return {
        run["round"]: run["rate"] for run in runs if run["entrant"] == entrant and run["outstanding"] == outstanding
    }


def _show_ratios(runs: Sequence[Run]) -> str:
    rows = []
    for mine, theirs in PAIRS:
        for outstanding in dict.fromkeys(run["outstanding"] for run in runs):
            own, other = _rates(runs, mine, outstanding), _rates(runs, theirs, outstanding)
            ratios = paired_ratios(own, other)
            if not ratios:
                continue
            ratio = spread(ratios)
            rows.append(
                [
                    f"{mine}, against {theirs}{' (never syncs)' if theirs == 'pysyncobj' else ''}",
                    f"{outstanding:,}",
                    figure(spread(list(own.values())).median),
                    figure(spread(list(other.values())).median),
                    factor(ratio.median),
                    f"{factor(ratio.least)} to {factor(ratio.most)}",
                    str(ratio.count),
                ]
            )
    header = ("what", "outstanding", "ours, commits/s", "theirs", "ratio, median", "of pairs", "pairs")
    return render(header, rows) if rows else ""


def _show_figures(runs: Sequence[Run]) -> str:
    columns = (
        ("commits/s", "rate"),
        ("p50 ms", "latency_p50_ms"),
        ("p99 ms", "latency_p99_ms"),
        ("leader's CPU, us/command", "leader_cpu_micros"),
        ("follower's", "follower_cpu_micros"),
        ("commands/sync", "commands_per_sync"),
        ("refused", "failures"),
    )
    rows = []
    for entrant in dict.fromkeys(run["entrant"] for run in runs):
        for outstanding in dict.fromkeys(run["outstanding"] for run in runs):
            chosen = [run for run in runs if run["entrant"] == entrant and run["outstanding"] == outstanding]
            if not chosen:
                continue
            cells = []
            for _, name in columns:
                values = [run[name] for run in chosen if name in run]
                cells.append(figure(spread(values).median if values else None))
            rows.append([entrant, f"{outstanding:,}", *cells])
    return render(("medians", "outstanding", *(title for title, _ in columns)), rows)


def _show_checks(checks: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> str:
    lines = []
    for cluster in dict.fromkeys(check["cluster"] for check in checks):
        chosen = [check for check in checks if check["cluster"] == cluster]
        acknowledged = sum(check["acknowledged"] for check in chosen)
        line = f"Checked: {cluster}: {acknowledged:,} commands acknowledged, all of them applied on all three members"
        if cluster == OURS:
            crashed = sum(check.get("after_all_were_killed", {}).get("acknowledged", 0) for check in chosen)
            line += f", written and synced on a quorum; {crashed:,} of them were there after all three were killed"
        elif cluster == "pysyncobj":
            line += "; it never syncs its log, so nothing says that they would be there after a crash"
        titles = {entrant.title for entrant in ENTRANTS if entrant.family == cluster}
        elections = [run["elections"] for run in runs if run["entrant"] in titles and "elections" in run]
        lines.append(f"{line}. Elections during its runs: {sum(elections) if elections else 'unknown'}.")
    return "\n".join(lines)
