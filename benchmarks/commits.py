"""What the engine does beside etcd and PySyncObj: commits, reads, memory, restart, failover, loop lag, sealing.

Three processes on loopback, 256-byte commands, every commit synced on a quorum. Our runs and the rivals' take turns, at
the same nice level, with the same payload and the same TLS state, and ratios are of such pairs. What is counted is
checked: it was written and synced on a quorum, all members applied it, and it is there after all of them were killed.

    python benchmarks/commits.py [--quick] [--only commits,reads,…] [--peer etcd …] [--json FILE]
    python benchmarks/commits.py --show FILE

Everything takes about 50 minutes, `--quick` about three. The soak is run by `--only soak`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs
import trio

from benchmarks.contest import PEERS, Arena, Plan, note, open_arena
from benchmarks.harness.surroundings import describe_machine, load_average, one_at_a_time, probe_disk
from benchmarks.sections import commits, failover, lag, memory, reads, restart, sealing, soak

SECTIONS: Final[Mapping[str, ModuleType]] = {
    "commits": commits,
    "reads": reads,
    "memory": memory,
    "restart": restart,
    "failover": failover,
    "lag": lag,
    "sealing": sealing,
    "soak": soak,
}
NOT_BY_DEFAULT: Final = {"soak"}


async def run(arena: Arena, sections: list[str], file: Path | None, found: dict[str, Any]) -> None:
    """Measure; add to `found` all that is, and keep it in the file after each section."""
    plan = arena.plan
    found |= {
        "machine": describe_machine(),
        "plan": {name: value for name, value in attrs.asdict(plan).items() if name != "directory"},
        "versions": arena.versions,
        "skipped": dict(arena.skipped),
        "disk_before": probe_disk(plan.directory),
        "load_before": load_average(),
        "sections": {},
    }
    try:
        for section in sections:
            note(f"{section} …")
            found["sections"][section] = await SECTIONS[section].measure(arena)
            _keep(found, file)
    finally:
        found |= {"disk_after": probe_disk(plan.directory), "load_after": load_average()}
        _keep(found, file)


def _keep(found: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(found, indent=1))


def show(found: Mapping[str, Any]) -> str:
    """Return everything as text."""
    machine, plan = found["machine"], found["plan"]
    payload = plan["payload"]
    lines = [
        (
            f"raftswarm {machine['raftswarm']}, Python {machine['python']}, {machine['cores']} cores of "
            f"{machine['processor']}, Linux {machine['kernel']}, nice {machine['nice']}."
        ),
        (
            f"{payload['command_bytes']}-byte commands, {payload['keys']:,} keys; {plan['rounds']} rounds, "
            f"{plan['seconds']:g} s each run."
        ),
    ]
    lines += [f"Against {version}." for version in found["versions"]]
    for when in ("before", "after"):
        disk = found.get(f"disk_{when}")
        if disk:
            lines.append(
                f"A sync of 4 KiB {when}: {disk['median_micros']:.0f} us (median), {disk['p99_micros']:.0f} us (p99); "
                f"load average {found[f'load_{when}']:.2f}."
            )
    lines += [f"Without {peer}: {reason}." for peer, reason in found["skipped"].items()]
    parts = ["\n".join(lines)]
    for section, content in found["sections"].items():
        parts += [f"## {SECTIONS[section].TITLE}", SECTIONS[section].show(content)]
    return "\n\n".join(parts)


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_listed, default=[], help=f"of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--peer", action="append", choices=[*PEERS, "none"], help="repeatable; all that can be had, if not given"
    )
    parser.add_argument("--outstanding", type=_listed, help="commands at a time: 1,64,1000,10000")
    parser.add_argument("--modes", type=_listed, help="of one, many, client")
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--tls", action="store_true", help="only with mutual TLS on the links")
    parser.add_argument("--plain", action="store_true", help="only with plain links")
    parser.add_argument("--quick", action="store_true", help="a look at everything in about three minutes")
    parser.add_argument("--snapshot-every", type=int, help="commands; the engine's default if not given")
    parser.add_argument("--soak-seconds", type=float, default=1800.0)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--json", type=Path, help="keep all figures there")
    parser.add_argument("--show", type=Path, help="print a file that --json made, and measure nothing")
    return parser.parse_args()


def make_plan(given: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    links = [name for name in ("tls", "plain") if getattr(given, name)] or ["tls", "plain"]
    plan = Plan(
        directory=given.directory,
        links=tuple(links),
        snapshot_every=given.snapshot_every,
        soak_seconds=given.soak_seconds,
    )
    if given.quick:
        plan = attrs.evolve(plan, quick=True, links=tuple(links[:1]), seconds=1.0, rounds=1, outstanding=(1, 64, 1000))
    chosen = {
        "outstanding": tuple(map(int, given.outstanding)) if given.outstanding else None,
        "modes": tuple(given.modes) if given.modes else None,
        "seconds": given.seconds,
        "rounds": given.rounds,
        "peers": tuple(peer for peer in given.peer if peer != "none") if given.peer else None,
    }
    return attrs.evolve(plan, **{name: value for name, value in chosen.items() if value is not None})


def main() -> None:
    """Measure, or show what was measured."""
    given = parse()
    if given.show:
        print(show(json.loads(given.show.read_text())))
        return
    unknown = set(given.only) - SECTIONS.keys()
    if unknown:
        raise SystemExit(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    sections = [name for name in SECTIONS if name in (given.only or SECTIONS.keys() - NOT_BY_DEFAULT)]
    found: dict[str, Any] = {}
    with one_at_a_time(), open_arena(make_plan(given)) as arena:
        try:
            trio.run(run, arena, sections, given.json, found)
        finally:
            print(show(found))  # Also what there is before something fails.


if __name__ == "__main__":
    main()
