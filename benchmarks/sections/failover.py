"""How long nothing is committed when the leader is killed (SIGKILL), or goes silent (SIGSTOP). Less is better.

The time is from the signal to the first command that a survivor committed, by the clock that all processes share. At
the end every acknowledged command has to be there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import trio

from benchmarks.contest import OURS, Arena, note
from benchmarks.harness.clusters import Restartable
from benchmarks.harness.processes import Process
from benchmarks.harness.statistics import spread
from benchmarks.harness.tables import figure, render
from raftswarm.raft.settings import RaftSettings

TITLE: Final = "Failover"
SETTLE_SECONDS: Final = 0.4
PHASE_SECONDS: Final = 0.037
"""Rounds begin at other moments between heartbeats."""
ELECTION_SECONDS: Final = RaftSettings().election_seconds
"""etcd's default is the same."""
ROUNDS: Final = {
    (OURS, "killed"): 50,
    (OURS, "silent"): 20,
    ("etcd-embedded", "killed"): 10,
    ("etcd-embedded", "silent"): 5,
}
TAKE_OVER_SECONDS: Final = 30.0


async def measure(arena: Arena) -> dict[str, Any]:
    """Return all times, in seconds."""
    plan = arena.plan
    runs = []
    links = plan.links[0]
    for (family, how), rounds in ROUNDS.items():
        if family != OURS and family not in plan.peers:
            continue
        async with arena.clusters([family], links) as clusters:
            cluster = cast("Restartable", clusters[family])
            times = [
                await lose_leader(cluster, number, kill=how == "killed")
                for number in range(3 if plan.quick else rounds)
            ]
            check = await cluster.check()
        note(f"  {family}, {how} leader: median {spread(times).median * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms")
        runs.append({"cluster": family, "how": how, "seconds": times, "check": check})
    return {"links": links, "runs": runs}


async def lose_leader(cluster: Restartable, number: int, *, kill: bool) -> float:
    """Take the leader away; return the seconds until another one has committed. It comes back afterwards."""
    leader = await cluster.leader()
    await _follow(cluster, cluster.members)
    await trio.sleep(SETTLE_SECONDS + number * PHASE_SECONDS % 0.1)
    reports = []

    async def take_over(member: Process) -> None:
        reports.append(await member.ask("take over", seconds=TAKE_OVER_SECONDS))

    async with trio.open_nursery() as nursery:
        for member in cluster.members:
            if member is not leader:
                nursery.start_soon(take_over, member)
        await trio.sleep(SETTLE_SECONDS)
        lost_at = time.monotonic()
        leader.signal(signal.SIGKILL if kill else signal.SIGSTOP)
    if kill:
        await leader.end()
        await leader.start()
    else:
        leader.signal(signal.SIGCONT)
    winners = [report for report in reports if report["took_over"]]
    taken_over = [winner["committed_at"] for winner in winners]
    assert taken_over, "nobody took over: measured something else"
    for winner in winners:
        cluster.count_call(failures=winner.get("failures", 0))
    return float(min(taken_over)) - lost_at


async def _follow(cluster: Restartable, members: list[Process]) -> None:
    """Wait until they have all that is committed."""
    place = await cluster.place()
    for member in members:
        await member.ask("wait applied", seconds=TAKE_OVER_SECONDS, count=place)


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each cluster and kind of loss."""
    rows = []
    for run in found["runs"]:
        times = spread(run["seconds"])
        rows.append(
            [
                f"{run['cluster']}, leader {run['how']}",
                str(times.count),
                figure(times.median * 1000),
                figure(times.most * 1000),
                figure(times.median / ELECTION_SECONDS),
                figure(times.most / ELECTION_SECONDS),
            ]
        )
    header = ("what", "rounds", "median ms", "worst ms", "median, election timeouts", "worst, election timeouts")
    lines = (
        f"Links: {found['links']}; election timeout {ELECTION_SECONDS * 1000:.0f} ms. No acknowledged command was lost."
    )
    return f"{lines}\n\n{render(header, rows)}"
