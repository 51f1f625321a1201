"""Three members of ours, a process each on loopback, as the comparison sees them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from benchmarks.harness.addresses import free_addresses
from benchmarks.harness.clusters import NAMES, Loaded, Payload, check_written, measure_load, newest_term
from benchmarks.harness.credentials import write_credentials
from benchmarks.harness.processes import Process, ProcessEnded, Report, running

POLL_SECONDS: Final = 0.05
LEADER_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 60.0
_HERE: Final = Path(__file__).parent


@attrs.frozen(kw_only=True)
class Options:
    """How our members are run, beyond their defaults."""

    tls: bool
    sealed: bool = True
    lease_reads: bool = False
    snapshot_every: int | None = None


@attrs.define(eq=False)
class RaftswarmCluster:
    """Ours."""

    title: str
    directory: Path
    payload: Payload
    options: Options
    members: list[Process]
    addresses: dict[str, str]
    acknowledged: int = 0
    failures: int = 0
    """Commands that were refused, or whose outcome is unknown."""
    _client: Process | None = None

    async def statuses(self) -> dict[str, Report]:
        """Return what members say of themselves, by name; who does not run says nothing."""
        return {member.name: await member.ask("status") for member in self.members if member.is_started}

    async def leader(self) -> Process:
        """Return who leads, when all agree; ProcessEnded, with what members say, if they do not for long.

        A leader that was silent believes for a moment that it still leads.
        """
        statuses: dict[str, Report] = {}
        with trio.move_on_after(LEADER_SECONDS):
            while True:
                statuses = await self.statuses()
                leading = [member for member in self.members if statuses.get(member.name, {}).get("leads")]
                if len(leading) == 1 and len({(one["term"], one["leader"]) for one in statuses.values()}) == 1:
                    return leading[0]
                await trio.sleep(POLL_SECONDS)
        raise ProcessEnded(f"nobody leads for {LEADER_SECONDS:g} s: {statuses}")

    async def load(self, mode: str, outstanding: int, seconds: float, **details: Any) -> Report:
        """Make load; AssertionError if it was not synced on a quorum."""
        leader = await self.leader()
        who = Loaded(leader=leader, followers=[member for member in self.members if member is not leader])
        kind = mode.removeprefix("client").strip() or "one"
        generator = leader if not mode.startswith("client") else await self.client()
        order = {"mode": kind, "outstanding": outstanding, "seconds": seconds, **details}
        whole_seconds = seconds + order.setdefault("warm_seconds", min(1.0, seconds / 2))
        before = await self.statuses()
        report = await measure_load(who, generator, whole_seconds, order=order)
        after = await self.statuses()
        syncs, log_bytes = (
            sorted((after[member][figure] - before[member][figure] for member in after), reverse=True)
            for figure in ("syncs", "log_bytes")
        )
        report["commands_per_sync"] = report["acknowledged"] / max(1, syncs[1])
        report["elections"] = newest_term(after) - newest_term(before)
        if kind != "read":
            self.acknowledged += report["acknowledged"]
            self.failures += report["failures"]
            check_written(report, log_bytes, self.payload, title=self.title)
            assert syncs[1] > 0, "a quorum did not sync: measured something else"
        return report

    async def client(self) -> Process:
        """Return the client's process, which is started when it is first asked for."""
        if self._client is None:
            leader = await self.leader()
            settings = {
                "name": "client",
                "directory": str(self.directory),
                "addresses": [self.addresses[leader.name], *self.addresses.values()],
                "command_bytes": self.payload.command_bytes,
                "keys": self.payload.keys,
            }
            self._client = Process("client", [sys.executable, _HERE / "client.py", json.dumps(settings)])
            await self._client.start()
        return self._client

    async def fill(self, count: int) -> None:
        """Commit that many commands through the client, so that no member holds what was sent but as its state."""
        report = await (await self.client()).ask("fill", seconds=count / 1000, count=count)
        self.acknowledged += report["acknowledged"]

    def count_call(self, *, failures: int = 0) -> None:
        """One more command was acknowledged, otherwise than by a load, after so many of unknown outcome."""
        self.acknowledged += 1
        self.failures += failures

    async def place(self) -> int:
        """Return how far the log has come: what `wait applied` waits for."""
        return int((await (await self.leader()).ask("status"))["log_applied"])

    async def check(self) -> Report:
        """Let all members apply all; then see that they have what was counted, and nothing else."""
        digests = await self.settle()
        applied = next(iter(digests.values()))["applied"]
        assert self.acknowledged <= applied <= self.acknowledged + self.failures, (
            f"{self.title}: {self.acknowledged} commands were acknowledged, and {applied} are applied"
        )
        return {"acknowledged": self.acknowledged, "failures": self.failures, "applied": applied}

    async def check_after_crash(self) -> Report:
        """The same after all three were killed at once, and started again."""
        before = await self.check()
        await self.kill_all()
        for member in self.members:
            await member.start()
        await self.leader()
        after = await self.check()
        assert after == before, f"{self.title}: {before} before the crash, {after} after it"
        return after

    async def kill_all(self) -> None:
        """SIGKILL, and the client goes too."""
        for process in [self._client, *self.members]:
            if process is not None:
                await process.end()
        self._client = None

    async def settle(self) -> dict[str, Report]:
        """Return reports of all members at one and the same moment of the log; AssertionError if they differ."""
        with trio.fail_after(SETTLE_SECONDS):
            while True:
                if len({status["applied"] for status in (await self.statuses()).values()}) == 1:
                    break
                await trio.sleep(POLL_SECONDS)
        reports = {member.name: await member.ask("digest") for member in self.members}
        assert len({report["digest"] for report in reports.values()}) == 1, "the members have different states"
        return reports


@asynccontextmanager
async def open_raftswarm(
    directory: Path, payload: Payload, options: Options, *, title: str = "raftswarm"
) -> AsyncIterator[RaftswarmCluster]:
    """Run three members and wait for their leader; `directory` is empty."""
    if options.tls:
        write_credentials(directory, (*NAMES, "client"))
    addresses = free_addresses(NAMES)
    members = []
    for name in NAMES:
        settings = {
            "name": name,
            "directory": str(directory),
            "addresses": addresses,
            "lease_reads": options.lease_reads,
            "sealed": options.sealed,
            "snapshot_every": options.snapshot_every,
            **attrs.asdict(payload),
        }
        members.append(Process(name, [sys.executable, _HERE / "member.py", json.dumps(settings)]))
    async with running(*members):
        cluster = RaftswarmCluster(
            title=title, directory=directory, payload=payload, options=options, members=members, addresses=addresses
        )
        try:
            await cluster.leader()
            yield cluster
        finally:
            await cluster.kill_all()
