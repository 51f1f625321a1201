"""What is compared: a cluster of three members, ours or a rival's, that takes load and proves what it counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from benchmarks.harness.processes import Process, Report

NAMES: Final = ("a", "b", "c")


@attrs.frozen(kw_only=True)
class Payload:
    """What is written, the same for all."""

    command_bytes: int = 256
    """Key and value."""
    keys: int = 100_000


class Cluster(Protocol):
    """Three members that run, and whoever loads them."""

    title: str
    members: list[Process]

    async def leader(self) -> Process:
        """Return who leads."""
        ...

    async def load(self, mode: str, outstanding: int, seconds: float, **details: Any) -> Report:
        """Make load: `one` await per command in the leader, `many` at a time, or `client`; `read`, `client read`."""
        ...

    async def check(self) -> Report:
        """Return what was counted and what the members have; AssertionError if less is there than was counted."""
        ...


class Fillable(Cluster, Protocol):
    """A cluster that can be given commands by their number."""

    async def fill(self, count: int) -> None:
        """Commit that many commands, key after key, with nothing of the load left in the members."""
        ...


class Restartable(Fillable, Protocol):
    """A cluster whose members say when they took over, and how far they are."""

    async def place(self) -> int:
        """Return how far the log has come: what `wait applied` waits for."""
        ...

    def count_call(self, *, failures: int = 0) -> None:
        """One more command was acknowledged, otherwise than by a load, after so many of unknown outcome."""
        ...


@attrs.frozen(kw_only=True)
class Loaded:
    """Who is at work during a load."""

    leader: Process
    followers: Sequence[Process]


async def measure_load(who: Loaded, generator: Process, seconds: float, **request: Any) -> Report:
    """Have a generator make load; add to its report what the kernel says of the members, leader first."""
    members = [who.leader, *who.followers]
    cpu_before = [member.cpu_seconds() for member in members]
    written_before = [member.written_bytes() for member in members]
    report = await generator.ask("load", seconds=seconds, **request)
    written = [member.written_bytes() - before for member, before in zip(members, written_before, strict=True)]
    cpu = [member.cpu_seconds() - before for member, before in zip(members, cpu_before, strict=True)]
    count = max(1, report["acknowledged"])
    report["leader_cpu_micros"] = cpu[0] / count * 1e6
    report["follower_cpu_micros"] = sum(cpu[1:]) / len(cpu[1:]) / count * 1e6
    report["written_bytes"] = written
    return report


def newest_term(statuses: Mapping[str, Report]) -> int:
    """Return the highest term that any member knows of: how much it grows is how many elections there were."""
    return max(int(status["term"]) for status in statuses.values())


def check_written(report: Report, written: Sequence[int], payload: Payload, *, title: str) -> None:
    """AssertionError unless a quorum of members has written what was acknowledged."""
    on_a_quorum = sorted(written, reverse=True)[len(written) // 2]
    least = report["acknowledged"] * payload.command_bytes
    assert on_a_quorum >= least, (
        f"{title}: {report['acknowledged']} commands are {least} bytes, and a quorum wrote {on_a_quorum} to its disk: "
        "measured something else (a directory in memory? choose another one with --directory)"
    )
