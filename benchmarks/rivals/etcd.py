"""etcd, in two ways: as a library in a program that loads itself, and as the stock server with its Go client.

Both programs are ours (`etcd/`), built offline from Debian's sources of etcd, and use as many cores as there are. Peers
use TLS with client certificates when we do, and so do clients.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from benchmarks.harness.addresses import free_addresses
from benchmarks.harness.clusters import NAMES, Loaded, Payload, check_written, measure_load, newest_term
from benchmarks.harness.credentials import write_loopback_certificate
from benchmarks.harness.processes import Process, ProcessEnded, Report, running
from benchmarks.rivals.availability import Unavailable, install

POLL_SECONDS: Final = 0.05
LEADER_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 60.0
QUOTA_BYTES: Final = 6 * 1024**3
FIRST_REVISION: Final = 1
"""Of an empty etcd; each put and each transaction makes another one."""

_SOURCES: Final = Path(__file__).parent / "etcd"
_GO_PATH: Final = Path("/usr/share/gocode")
_PACKAGES: Final = ("etcd-server", "golang-go", "golang-etcd-server-dev")


@attrs.frozen(kw_only=True)
class Programs:
    """What was built."""

    member: Path
    client: Path
    server: Path
    """The stock one, as the distribution built it."""
    version: str


def build(directory: Path) -> Programs:
    """Build our two programs into that directory, with what they need installed; Unavailable, saying why not."""
    library = _GO_PATH / "src/go.etcd.io/etcd/embed"
    if not (library.is_dir() and shutil.which("go") and shutil.which("etcd")):
        install(*_PACKAGES)
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(_GO_PATH)}
    for program in ("member", "client"):
        built = subprocess.run(
            ["go", "build", "-o", directory / program, "load.go", f"{program}.go"],
            cwd=_SOURCES,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise Unavailable(f"`go build` of rivals/etcd/{program}.go failed: {built.stderr.strip()[-300:]}")
    server = shutil.which("etcd")
    assert server is not None
    version, go_version = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for command in ([server, "--version"], ["go", "version"])
    )
    return Programs(
        member=directory / "member",
        client=directory / "client",
        server=Path(server),
        version=f"{version.replace(' Version:', '')}, {go_version}",
    )


@attrs.define(eq=False, kw_only=True)
class EtcdCluster(ABC):
    """What both have in common."""

    title: str
    payload: Payload
    members: list[Process]
    acknowledged: int = 0
    calls: int = 0
    failures: int = 0

    @abstractmethod
    async def statuses(self) -> Mapping[str, Report]:
        """Return what members say of themselves, by name; who is not there says nothing."""

    @abstractmethod
    async def generator(self, leader: Process) -> tuple[Process, dict[str, Any]]:
        """Return who loads the leader, and what it has to be told besides."""

    async def leader(self) -> Process:
        """Return who leads, when nobody else believes to."""
        with trio.fail_after(LEADER_SECONDS):
            while True:
                statuses = await self.statuses()
                leading = [member for member in self.members if statuses.get(member.name, {}).get("leads")]
                if len(leading) == 1:
                    return leading[0]
                await trio.sleep(POLL_SECONDS)
        raise AssertionError

    async def load(self, mode: str, outstanding: int, seconds: float, **details: Any) -> Report:
        """Make load; AssertionError if it was not written on a quorum."""
        leader = await self.leader()
        who = Loaded(leader=leader, followers=[member for member in self.members if member is not leader])
        kind = mode.removeprefix("client").strip() or "one"
        generator, request = await self.generator(leader)
        order = {"mode": kind, "outstanding": outstanding, "seconds": seconds, **details}
        whole_seconds = seconds + order.setdefault("warm_seconds", min(1.0, seconds / 2))
        before = await self.statuses()
        report = await measure_load(who, generator, whole_seconds, order=order, **request)
        after = await self.statuses()
        report["elections"] = newest_term(after) - newest_term(before)
        syncs = sorted(after[name]["syncs"] - before[name]["syncs"] for name in after if "syncs" in after[name])
        if syncs and kind != "read":
            report["commands_per_sync"] = report["acknowledged"] / max(1, syncs[1])
        if kind != "read":
            self._count(report)
            check_written(report, report["written_bytes"], self.payload, title=self.title)
        return report

    def _count(self, report: Report) -> None:
        self.acknowledged += report["acknowledged"]
        self.calls += report["calls"]
        self.failures += report.get("failures", 0)

    async def fill(self, count: int) -> None:
        """Commit that many puts, key after key."""
        generator, request = await self.generator(await self.leader())
        self._count(await generator.ask("fill", seconds=count / 1000, count=count, **request))

    def count_call(self, *, failures: int = 0) -> None:
        """One more put was acknowledged, otherwise than by a load, after so many of unknown outcome."""
        self.acknowledged += 1
        self.calls += 1
        self.failures += failures

    async def place(self) -> int:
        """Return how far the log has come: what `wait applied` waits for."""
        return int((await self.statuses())[(await self.leader()).name]["revision"])

    async def check(self) -> Report:
        """See that the revision grew by what was counted, on all members."""
        with trio.fail_after(SETTLE_SECONDS):
            while True:
                revisions = {status["revision"] for status in (await self.statuses()).values()}
                if len(revisions) == 1:
                    break
                await trio.sleep(POLL_SECONDS)
        [revision] = revisions
        grown = revision - FIRST_REVISION
        assert self.calls <= grown <= self.calls + self.failures, (
            f"{self.title}: {self.calls} calls were answered, and the revision grew by {grown}"
        )
        return {"acknowledged": self.acknowledged, "failures": self.failures, "applied": grown}


@attrs.define(eq=False, kw_only=True)
class EmbeddedEtcd(EtcdCluster):
    """Members as a library, each in a program of its own; the leader's program loads it, without gRPC."""

    title: str = "etcd-embedded"

    async def statuses(self) -> Mapping[str, Report]:
        """Ask each member."""
        statuses = {}
        for member in self.members:
            if member.is_started:
                statuses[member.name] = await member.ask("status")
        return statuses

    async def generator(self, leader: Process) -> tuple[Process, dict[str, Any]]:
        """The leader loads itself."""
        return leader, {}


@attrs.define(eq=False, kw_only=True)
class StockEtcd(EtcdCluster):
    """The distribution's own servers, and etcd's Go client in a process of its own, connected to the leader."""

    title: str = "etcd"
    client: Process
    endpoints: dict[str, str]

    async def statuses(self) -> Mapping[str, Report]:
        """Ask through the client."""
        found = (await self.client.ask("status", seconds=LEADER_SECONDS))["members"]
        return {name: found[endpoint] for name, endpoint in self.endpoints.items() if endpoint in found}

    async def generator(self, leader: Process) -> tuple[Process, dict[str, Any]]:
        """The client, which dials the leader."""
        return self.client, {"endpoint": self.endpoints[leader.name]}


@asynccontextmanager
async def open_embedded(
    directory: Path, payload: Payload, programs: Programs, *, tls: bool
) -> AsyncIterator[EmbeddedEtcd]:
    """Run three embedded members and wait until they serve."""
    scheme = "https" if tls else "http"
    peers, clients = free_addresses(NAMES), free_addresses(NAMES)
    if tls:
        write_loopback_certificate(directory)
    members = []
    for name in NAMES:
        settings = {
            "name": name,
            "directory": str(directory / name),
            "peer_url": f"{scheme}://{peers[name]}",
            "client_url": f"http://{clients[name]}",
            "initial_cluster": ",".join(f"{one}={scheme}://{place}" for one, place in peers.items()),
            "certificates": str(directory) if tls else "",
            "quota_bytes": QUOTA_BYTES,
            **attrs.asdict(payload),
        }
        members.append(Process(name, [programs.member, json.dumps(settings)]))
    async with running(*members):
        cluster = EmbeddedEtcd(payload=payload, members=members)
        with trio.fail_after(LEADER_SECONDS):
            while not all(status["opened_at"] for status in (await cluster.statuses()).values()):  # noqa: ASYNC110 - other processes
                await trio.sleep(POLL_SECONDS)
        await cluster.leader()
        yield cluster


@asynccontextmanager
async def open_stock(directory: Path, payload: Payload, programs: Programs, *, tls: bool) -> AsyncIterator[StockEtcd]:
    """Run three stock servers and a client, and wait until they serve."""
    scheme = "https" if tls else "http"
    peers, clients = free_addresses(NAMES), free_addresses(NAMES)
    flags = [
        *("--initial-cluster", ",".join(f"{one}={scheme}://{place}" for one, place in peers.items())),
        *("--quota-backend-bytes", str(QUOTA_BYTES), "--logger", "zap", "--log-level", "error"),
    ]
    if tls:
        write_loopback_certificate(directory)
        for prefix in ("--", "--peer-"):
            flags += [f"{prefix}client-cert-auth", f"{prefix}trusted-ca-file", str(directory / "ca.pem")]
            flags += [
                f"{prefix}cert-file",
                str(directory / "cert.pem"),
                f"{prefix}key-file",
                str(directory / "key.pem"),
            ]
    members = []
    for name in NAMES:
        peer, serving = f"{scheme}://{peers[name]}", f"{scheme}://{clients[name]}"
        own_flags = [
            *("--name", name, "--data-dir", str(directory / name)),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--listen-client-urls", serving, "--advertise-client-urls", serving),
        ]
        members.append(Process(name, [programs.server, *own_flags, *flags], log=directory / f"{name}.log"))
    endpoints = {name: f"{scheme}://{place}" for name, place in clients.items()}
    settings = {"endpoints": list(endpoints.values()), "certificates": str(directory) if tls else ""}
    client = Process("etcd client", [programs.client, json.dumps(settings | attrs.asdict(payload))])
    async with running(*members, client):
        cluster = StockEtcd(payload=payload, members=members, client=client, endpoints=endpoints)
        try:
            with trio.fail_after(LEADER_SECONDS):
                while len(await cluster.statuses()) < len(NAMES):  # noqa: ASYNC110 - other processes
                    await trio.sleep(POLL_SECONDS)
            await cluster.leader()
        except trio.TooSlowError:
            logs = "".join((directory / f"{name}.log").read_text()[-500:] for name in NAMES)
            raise ProcessEnded(f"etcd did not come up: {logs}") from None
        yield cluster
