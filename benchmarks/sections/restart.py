"""How long a member takes to come back, and a cluster of which all were killed. Less is better.

A member's time is from the end of its imports until it has applied all that the others have; what the interpreter and
the imports take stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import trio

from benchmarks.contest import OURS, Arena, note
from benchmarks.harness.clusters import Restartable
from benchmarks.harness.processes import Process, Report
from benchmarks.harness.statistics import spread
from benchmarks.harness.tables import figure, render

TITLE: Final = "Restart"
COMMANDS: Final = (100_000, 1_000_000)
QUICK_COMMANDS: Final = (20_000,)
WAIT_SECONDS: Final = 60.0
ROUNDS: Final = 5


async def measure(arena: Arena) -> dict[str, Any]:
    """Return times in seconds: of one member, and of all of them."""
    plan = arena.plan
    links = plan.links[0]
    runs = []
    for count in QUICK_COMMANDS if plan.quick else COMMANDS:
        for family in (OURS, "etcd-embedded"):
            if family != OURS and family not in plan.peers:
                continue
            async with arena.clusters([family], links) as clusters:
                cluster = cast("Restartable", clusters[family])
                await cluster.fill(count)
                await cluster.check()
                members = [await _restart_follower(cluster) for _ in range(1 if plan.quick else ROUNDS)]
                first_commit = await _restart_all(cluster)
                await cluster.check()
            runs.append({"cluster": family, "commands": count, "members": members, "first_commit": first_commit})
            note(f"  {family}, {count:,} commands: {members[-1]['applied']:.2f} s, all killed: {first_commit:.2f} s")
    return {"links": links, "runs": runs}


async def _restart_follower(cluster: Restartable) -> dict[str, float | None]:
    leader = await cluster.leader()
    follower = next(member for member in cluster.members if member is not leader)
    place = await cluster.place()
    await follower.end()
    await follower.start()
    report = await follower.ask("wait applied", seconds=WAIT_SECONDS, count=place)
    began_at = report.get("imported_at", follower.started_at)
    return {
        "imports": began_at - follower.started_at,
        "opened": report["opened_at"] - began_at if report["opened_at"] else None,
        "applied": report["reached_at"] - began_at,
    }


async def _restart_all(cluster: Restartable) -> float:
    for member in cluster.members:
        await member.end()
    for member in cluster.members:
        await member.start()
    reports: list[Report] = []

    async def take_over(member: Process) -> None:
        reports.append(await member.ask("take over", seconds=WAIT_SECONDS))

    async with trio.open_nursery() as nursery:
        for member in cluster.members:
            nursery.start_soon(take_over, member)
    winners = [report for report in reports if report["took_over"]]
    for winner in winners:
        cluster.count_call(failures=winner.get("failures", 0))
    return float(min(winner["committed_at"] for winner in winners)) - cluster.members[0].started_at


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each cluster and length of log."""
    rows = []
    for run in found["runs"]:
        times = {
            name: spread(values) if None not in (values := [member[name] for member in run["members"]]) else None
            for name in ("imports", "opened", "applied")
        }
        rows.append(
            [
                f"{run['cluster']}, {run['commands']:,} commands",
                *(figure(one.median if one else None) for one in times.values()),
                figure(times["applied"].most if times["applied"] else None),
                str(len(run["members"])),
                figure(run["first_commit"]),
            ]
        )
    header = (
        "what",
        "start and imports, s",
        "then until it is open",
        "until it has applied all",
        "worst",
        "restarts",
        "all killed: from their start to a commit",
    )
    return f"Links: {found['links']}.\n\n{render(header, rows)}"
