"""What it costs a leader to bring back a follower that is far behind. The ratios are to be high, elections none.

Three members, a process each, on this machine. While all three follow, the leader's throughput is measured; then one is
killed, and started again once it is `--commands` behind: it gets a snapshot, and the load goes on the whole time. In
the end all three must have the same state.

    python benchmarks/catch_up.py [--commands 1000000] [--bytes 256] [--keys 100000] [--tls] [--pause] [--json]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import attrs
import trio

import raftswarm
from raftswarm.ca import (
    MANAGER,
    Credentials,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
)

NAMES = ("a", "b", "c")
KEY_BYTES = 8
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


@attrs.frozen
class Picture:
    """The values as they were when it was taken."""

    applied: int
    values: dict[bytes, bytes]

    def chunks(self) -> Iterator[bytes]:
        yield self.applied.to_bytes(8, "big")
        piece = bytearray()
        for value in self.values.values():
            piece += value
            if len(piece) >= 200_000:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)


class Values:
    """The newest command of each key, and how many there were."""

    def __init__(self, command_bytes: int) -> None:
        self.applied = 0
        self.restored = 0
        """Commands that came as snapshots from the leader …"""
        self.restored_bytes = 0
        """… and the size of all snapshots."""
        self._values: dict[bytes, bytes] = {}
        self._command_bytes = command_bytes

    def apply(self, command: bytes, context: raftswarm.Context) -> None:
        del context
        self._values[command[:KEY_BYTES]] = command
        self.applied += 1

    def capture(self) -> Picture:
        return Picture(self.applied, self._values.copy())

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.prepare_restore(chunks)()

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        pieces = iter(chunks)
        applied = int.from_bytes(next(pieces), "big")
        values: dict[bytes, bytes] = {}
        size = self._command_bytes
        for piece in pieces:
            for start in range(0, len(piece), size):
                command = piece[start : start + size]
                values[command[:KEY_BYTES]] = command

        def put_in_place() -> None:
            self.restored += applied - self.applied
            self.restored_bytes += size * len(values)
            self.applied, self._values = applied, values

        return put_in_place

    def digest(self) -> str:
        digest = hashlib.sha256(b"%d" % self.applied)
        for key in sorted(self._values):
            digest.update(self._values[key])
        return digest.hexdigest()


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
    credentials = Credentials(*json.loads((directory / f"{name}.pem.json").read_text())) if settings.tls else None
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
        requests = trio.wrap_file(sys.stdin)
        async for line in requests:
            match line.strip():
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
                "digest": machine.digest() if line.strip() == "digest" else "",
            }
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
        nursery.cancel_scope.cancel()


# All of them.


@attrs.define
class Process:
    """A member's process, as the parent sees it."""

    name: str
    arguments: list[str]
    _process: trio.Process | None = None
    _buffer: bytes = b""

    async def start(self) -> Self:
        self._buffer = b""
        self._process = await trio.lowlevel.open_process(
            [sys.executable, __file__, *self.arguments, "--member", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    async def ask(self, request: str = "") -> dict[str, Any]:
        """Send a request; return the report."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.send_all(request.encode() + b"\n")
        while b"\n" not in self._buffer:
            received = await self._process.stdout.receive_some()
            assert received, f"member {self.name} ended"
            self._buffer += received
        line, self._buffer = self._buffer.split(b"\n", 1)
        return dict(json.loads(line))

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await self._process.wait()


@asynccontextmanager
async def open_processes(arguments: list[str]) -> AsyncIterator[list[Process]]:
    processes = [Process(name, arguments) for name in NAMES]
    try:
        for process in processes:
            await process.start()
        yield processes
    finally:
        for process in processes:
            await process.end()


async def find_leader(processes: list[Process]) -> Process:
    with trio.fail_after(START_SECONDS):
        while True:
            for process in processes:
                if (await process.ask())["leads"]:
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
    first = last = await leader.ask()
    while not await until(last):
        await trio.sleep(SAMPLE_SECONDS)
        last = await leader.ask()
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
        theirs = await behind.ask()
        return bool(theirs["applied"] >= report["applied"] - 2 * settings.outstanding)

    begin = await leader.ask()
    healthy = await watch(leader, for_a_while)
    if settings.pause:
        behind.signal(signal.SIGSTOP)
    else:
        await behind.end()
    begin = await leader.ask()
    away = await watch(leader, far_ahead)
    if settings.pause:
        behind.signal(signal.SIGCONT)
    else:
        await behind.start()
    catching_up = await watch(leader, caught_up)
    begin = await leader.ask()
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


def write_credentials(directory: Path) -> None:
    now_ns = time.time_ns()
    root_key = new_key(secrets.token_bytes(48))
    root = create_root(root_key, now_ns=now_ns, serial_bytes=secrets.token_bytes(16))
    for name in NAMES:
        key = new_key(secrets.token_bytes(48))
        certificate = issue_certificate(
            make_signing_request(key),
            Identity(name, MANAGER, "embedded"),
            root=root,
            root_key=key_to_pem(root_key),
            now_ns=now_ns,
            serial_bytes=secrets.token_bytes(16),
        )
        (directory / f"{name}.pem.json").write_text(json.dumps([certificate, key_to_pem(key), root]))


def free_addresses() -> dict[str, str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    addresses = {name: "{}:{}".format(*listening.getsockname()) for name, listening in zip(NAMES, sockets, strict=True)}
    for listening in sockets:
        listening.close()
    return addresses


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
            write_credentials(directory)
        passed_on = ["--directory", made, "--addresses", json.dumps(free_addresses())]
        passed_on += ["--settings", json.dumps(attrs.asdict(settings))]
        load_before = os.getloadavg()[0]
        async with open_processes(passed_on) as processes:
            found = await measure(processes, settings)
        found |= attrs.asdict(settings) | {"load_before": load_before, "load_after": os.getloadavg()[0]}
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
    with (Path(tempfile.gettempdir()) / "raftswarm-benchmark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # One benchmark at a time: they would measure each other.
        trio.run(main, given, chosen)
