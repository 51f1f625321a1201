"""What it costs a leader to bring back a follower that is far behind. The ratios are to be high, elections none.

Three members, a process each, on this machine. While all three follow, the leader's throughput is measured; then one is
killed, and started again once it is `--commands` behind: it gets a snapshot, and the load goes on the whole time. In
the end all three must have the same state.

    python benchmarks/catch_up.py [--commands 1000000] [--bytes 256] [--keys 100000] [--tls] [--pause] [--json]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import trio

import raftswarm
from benchmarks.harness.addresses import free_addresses
from benchmarks.harness.clusters import NAMES
from benchmarks.harness.credentials import read_credentials, write_credentials
from benchmarks.harness.processes import Process, running
from benchmarks.harness.serving import answer, requests
from benchmarks.harness.surroundings import load_average, one_at_a_time
from benchmarks.harness.values import KEY_BYTES, Values

SAMPLE_SECONDS = 0.1
START_SECONDS = 30.0


@attrs.frozen(kw_only=True)
class Settings:
    """What is measured."""

    commands: int
    command_bytes: int
    keys: int
    outstanding: int
    per_call: int
    healthy_seconds: float
    snapshot_every: int
    keep_entries: int
    tls: bool
    pause: bool


# One member.


@attrs.define
class Load:
    """Proposes as fast as `outstanding` commands at a time allow."""

    settings: Settings
    member: Any
    """Whatever `open_member` gives."""
    acknowledged: int = 0
    refused: int = 0
    _numbers: Iterator[int] = attrs.field(factory=count)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for _ in range(self.settings.outstanding // self.settings.per_call):
                    nursery.start_soon(self._propose)

    def stop(self) -> None:
        self._scope.cancel()

    async def _propose(self) -> None:
        settings = self.settings
        padding = bytes(settings.command_bytes - KEY_BYTES - 8)
        while True:
            numbers = [next(self._numbers) for _ in range(settings.per_call)]
            commands = [
                (number % settings.keys).to_bytes(KEY_BYTES, "big") + number.to_bytes(8, "big") + padding
                for number in numbers
            ]
            results = await self.member.propose_many(commands)
            failed = sum(isinstance(result, Exception) for result in results)
            self.acknowledged += len(results) - failed
            self.refused += failed
            if failed:
                await trio.sleep(SAMPLE_SECONDS)


async def run_member(name: str, directory: Path, addresses: dict[str, str], settings: Settings) -> None:
    """Serve one member, and the parent's requests: a line of JSON each, in and out."""
    machine = Values(settings.command_bytes)
    credentials = read_credentials(directory, name)
    policy = raftswarm.CompactionPolicy(
        snapshot_every_commands=settings.snapshot_every, keep_entries=settings.keep_entries
    )
    async with (
        raftswarm.open_member(
            directory / name, machine, name=name, members=addresses, credentials=credentials, compaction=policy
        ) as member,
        trio.open_nursery() as nursery,
    ):
        machine.restored = machine.restored_bytes = 0  # What came from its own disk.
        load = Load(settings, member)
        async for request in requests():
            match request["ask"]:
                case "load":
                    nursery.start_soon(load.run)
                case "stop":
                    load.stop()
            leadership = member.leadership.value
            report = {
                "at": trio.current_time(),
                "applied": machine.applied,
                "acknowledged": load.acknowledged,
                "refused": load.refused,
                "restored": machine.restored,
                "restored_bytes": machine.restored_bytes,
                "term": leadership.term,
                "leads": leadership.is_leader,
                "cpu": time.process_time(),
                "digest": machine.digest() if request["ask"] == "digest" else "",
            }
            answer(report)
        nursery.cancel_scope.cancel()


# All of them.


async def find_leader(processes: list[Process]) -> Process:
    with trio.fail_after(START_SECONDS):
        while True:
            for process in processes:
                if (await process.ask("status"))["leads"]:
                    return process
            await trio.sleep(SAMPLE_SECONDS)
    raise AssertionError


@attrs.frozen
class Phase:
    """What the leader did in a part of the story."""

    seconds: float
    commands: int
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Commands a second."""
        return self.commands / self.seconds

    @property
    def cpu_micros(self) -> float:
        """The leader's own work for one command: the others' share of the machine is not in it."""
        return self.cpu_seconds / self.commands * 1e6


async def watch(leader: Process, until: Callable[[dict[str, Any]], Any]) -> Phase:
    """Let the load run until a report of the leader's satisfies."""
    first = last = await leader.ask("status")
    while not await until(last):
        await trio.sleep(SAMPLE_SECONDS)
        last = await leader.ask("status")
    return Phase(*(last[name] - first[name] for name in ("at", "acknowledged", "cpu")))


async def measure(processes: list[Process], settings: Settings) -> dict[str, Any]:
    leader = await find_leader(processes)
    behind = next(process for process in processes if process is not leader)
    await leader.ask("load")
    await trio.sleep(min(1.0, settings.healthy_seconds / 2))

    async def for_a_while(report: dict[str, Any]) -> bool:
        return bool(report["at"] - begin["at"] >= settings.healthy_seconds)

    async def far_ahead(report: dict[str, Any]) -> bool:
        return bool(report["applied"] - begin["applied"] >= settings.commands)

    async def caught_up(report: dict[str, Any]) -> bool:
        theirs = await behind.ask("status")
        return bool(theirs["applied"] >= report["applied"] - 2 * settings.outstanding)

    begin = await leader.ask("status")
    healthy = await watch(leader, for_a_while)
    if settings.pause:
        behind.signal(signal.SIGSTOP)
    else:
        await behind.end()
    begin = await leader.ask("status")
    away = await watch(leader, far_ahead)
    if settings.pause:
        behind.signal(signal.SIGCONT)
    else:
        await behind.start()
    catching_up = await watch(leader, caught_up)
    begin = await leader.ask("status")
    after = await watch(leader, for_a_while)
    await leader.ask("stop")
    reports = await settle(processes)
    return {
        "phases": {
            title: {"rate": phase.rate, "seconds": phase.seconds, "leader_cpu_micros": phase.cpu_micros}
            for title, phase in (
                ("all three follow", healthy),
                ("one is away", away),
                ("it catches up", catching_up),
                ("afterwards", after),
            )
        },
        "ratio": catching_up.rate / healthy.rate,
        "ratio_to_away": catching_up.rate / away.rate,
        "seconds": catching_up.seconds,
        "snapshot_bytes": reports[behind.name]["restored_bytes"],
        "by_snapshot": reports[behind.name]["restored"],
        "elections": max(report["term"] for report in reports.values()) - begin["term"],
        "refused": reports[leader.name]["refused"],
        "applied": reports[leader.name]["applied"],
        "same_state": len({report["digest"] for report in reports.values()}) == 1,
    }


async def settle(processes: list[Process]) -> dict[str, dict[str, Any]]:
    """Return reports with digests of one and the same moment of the log: what was cancelled may be applied still."""
    with trio.fail_after(START_SECONDS):
        while True:
            reports = {process.name: await process.ask("digest") for process in processes}
            if len({report["applied"] for report in reports.values()}) == 1:
                return reports
            await trio.sleep(SAMPLE_SECONDS)
    raise AssertionError


def show(found: dict[str, Any], settings: Settings) -> None:
    links = "TLS" if settings.tls else "plain"
    print(f"{settings.commands} commands of {settings.command_bytes} bytes behind, {links} links")
    base = found["phases"]["all three follow"]["rate"]
    for title, phase in found["phases"].items():
        print(
            f"  {title:<18} {phase['rate']:>10,.0f} commands/s  {phase['rate'] / base:>6.0%}   "
            f"{phase['leader_cpu_micros']:6.2f} us of the leader's CPU each"
        )
    print(
        f"catch-up {found['seconds']:.1f} s, {found['by_snapshot']} commands by snapshots of "
        f"{found['snapshot_bytes'] / 1e6:.1f} MB, elections {found['elections']}, refused {found['refused']}, "
        f"same state: {'yes' if found['same_state'] else 'NO'}"
    )


async def main(arguments: argparse.Namespace, settings: Settings) -> None:
    with tempfile.TemporaryDirectory(prefix="raftswarm-catch-up-") as made:
        directory = Path(made)
        if settings.tls:
            write_credentials(directory, NAMES)
        passed_on = ["--directory", made, "--addresses", json.dumps(free_addresses(NAMES))]
        passed_on += ["--settings", json.dumps(attrs.asdict(settings))]
        load_before = load_average()
        processes = [Process(name, [sys.executable, __file__, *passed_on, "--member", name]) for name in NAMES]
        async with running(*processes):
            found = await measure(processes, settings)
        found |= attrs.asdict(settings) | {"load_before": load_before, "load_after": load_average()}
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found, settings)
    assert found["same_state"], "the members have different states"
    assert found["by_snapshot"], "measured something else: it caught up without a snapshot"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=1_000_000, help="how far the follower falls behind")
    parser.add_argument("--bytes", type=int, default=256, help="of a command")
    parser.add_argument("--keys", type=int, default=100_000, help="how many values the state has")
    parser.add_argument("--outstanding", type=int, default=4096, help="commands that wait for their answer at a time")
    parser.add_argument("--per-call", type=int, default=256, help="of them, in one call of propose_many")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load before and after")
    parser.add_argument("--snapshot-every", type=int, default=100_000, help="commands")
    parser.add_argument("--keep-entries", type=int, default=500, help="behind a snapshot; an entry is a batch")
    parser.add_argument("--tls", action="store_true", help="mutual TLS on the links")
    parser.add_argument("--pause", action="store_true", help="pause the follower instead of killing it")
    parser.add_argument("--json", action="store_true")
    for internal in ("--member", "--directory", "--addresses", "--settings"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member:
        trio.run(
            run_member,
            given.member,
            Path(given.directory),
            json.loads(given.addresses),
            Settings(**json.loads(given.settings)),
        )
        sys.exit()
    chosen = Settings(
        commands=given.commands,
        command_bytes=given.bytes,
        keys=given.keys,
        outstanding=given.outstanding,
        per_call=given.per_call,
        healthy_seconds=given.seconds,
        snapshot_every=given.snapshot_every,
        keep_entries=given.keep_entries,
        tls=given.tls,
        pause=given.pause,
    )
    with one_at_a_time():
        trio.run(main, given, chosen)
