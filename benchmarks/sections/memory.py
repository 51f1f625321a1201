"""How much memory a member takes that holds 100,000 commands. Less is better.

The commands come over the network, so that no member has anything of whoever made the load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import trio

from benchmarks.contest import OURS, Arena, note
from benchmarks.harness.clusters import NAMES, Fillable
from benchmarks.harness.tables import figure, render

TITLE: Final = "Memory of a member"
COMMANDS: Final = 100_000
SETTLE_SECONDS: Final = 2.0
MEGABYTE: Final = 1_000_000


async def measure(arena: Arena) -> dict[str, Any]:
    """Return each member's memory, with nothing in it and with all commands."""
    plan = arena.plan
    count = COMMANDS // 10 if plan.quick else COMMANDS
    links = plan.links[0]
    runs = []
    for family in (OURS, "etcd"):
        if family != OURS and family not in plan.peers:
            continue
        async with arena.clusters([family], links) as clusters:
            cluster = cast("Fillable", clusters[family])
            await trio.sleep(SETTLE_SECONDS)
            empty = {member.name: member.memory_bytes() for member in cluster.members}
            leader = (await cluster.leader()).name
            await cluster.fill(count)
            await cluster.check()
            await trio.sleep(SETTLE_SECONDS)
            full = {member.name: member.memory_bytes() for member in cluster.members}
        runs.append({"cluster": family, "leader": leader, "empty": empty, "full": full})
        note(f"  {family}: {full[leader]['resident'] / MEGABYTE:.0f} MB resident in the leader")
    return {"links": links, "commands": count, "runs": runs}


def show(found: Mapping[str, Any]) -> str:
    """Return a row for each member."""
    rows = []
    for run in found["runs"]:
        for name in (run["leader"], *(name for name in NAMES if name != run["leader"])):
            role = "leader" if name == run["leader"] else "follower"
            rows.append(
                [
                    f"{run['cluster']}, {role}",
                    figure(run["empty"][name]["resident"] / MEGABYTE),
                    *(figure(run["full"][name][kind] / MEGABYTE) for kind in ("resident", "own", "peak")),
                ]
            )
    header = ("member", "empty, MB", "full, resident", "of that its own", "peak")
    return f"Full: {found['commands']:,} commands; links: {found['links']}.\n\n{render(header, rows)}"
