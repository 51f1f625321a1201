"""Who is measured against whom, and how: the plan of a run of `commits.py`, and opening its clusters."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import attrs

from benchmarks.harness.clusters import Cluster, Payload
from benchmarks.ours.cluster import Options, RaftswarmCluster, open_raftswarm
from benchmarks.rivals import etcd, pysyncobj_cluster
from benchmarks.rivals.availability import Unavailable


@attrs.frozen(kw_only=True)
class Entrant:
    """One way to commit: a cluster, and how it is loaded."""

    title: str
    family: str
    """Entrants of one family share a cluster."""
    mode: str


OURS: Final = "raftswarm"

# In this order in each round, so that a pair is measured one right after the other.
ENTRANTS: Final = (
    Entrant(title="one await each", family=OURS, mode="one"),
    Entrant(title="etcd-embedded", family="etcd-embedded", mode="one"),
    Entrant(title="propose_many", family=OURS, mode="many"),
    Entrant(title="etcd-txn", family="etcd-embedded", mode="many"),
    Entrant(title="network client", family=OURS, mode="client"),
    Entrant(title="etcd", family="etcd", mode="client"),
    Entrant(title="pysyncobj", family="pysyncobj", mode="one"),
)

PAIRS: Final = (
    ("one await each", "etcd-embedded"),
    ("propose_many", "etcd-embedded"),
    ("propose_many", "etcd-txn"),
    ("network client", "etcd"),
    ("one await each", "pysyncobj"),
)
"""What of ours is set against which rival."""

PEERS: Final = ("etcd-embedded", "etcd-txn", "etcd", "pysyncobj")
MOST_FOR_PEERS: Final = 1_000
"""Commands outstanding: with more, etcd refuses what it cannot apply soon enough."""


@attrs.frozen(kw_only=True)
class Plan:
    """What is measured, and for how long."""

    directory: Path
    """Where all clusters keep their data, on the disk that is measured."""
    links: tuple[str, ...] = ("tls", "plain")
    outstanding: tuple[int, ...] = (1, 64, 1_000, 10_000)
    modes: tuple[str, ...] = ("one", "many", "client")
    seconds: float = 10.0
    rounds: int = 5
    quick: bool = False
    peers: tuple[str, ...] = PEERS
    soak_seconds: float = 1_800.0
    snapshot_every: int | None = None
    payload: Payload = Payload()

    def entrants(self, links: str, outstanding: int) -> list[Entrant]:
        """Return who is measured with that many commands outstanding."""
        return [
            entrant
            for entrant in ENTRANTS
            if entrant.mode in self.modes
            and (entrant.family == OURS or (entrant.title in self.peers and outstanding <= MOST_FOR_PEERS))
            and (links == "plain" or entrant.family != "pysyncobj")  # It has no TLS.
        ]

    @property
    def short_seconds(self) -> float:
        """Of a run where a ratio between two of our own settings, or of reads, is looked for."""
        return min(self.seconds, 2.0)

    def options(self, links: str) -> Options:
        """Return how our members are run."""
        return Options(tls=links == "tls", snapshot_every=self.snapshot_every)


Opener = Callable[[Path, Payload, bool], AbstractAsyncContextManager[Cluster]]
"""Opens a cluster in an empty directory, with TLS or not."""


@attrs.frozen(kw_only=True)
class Arena:
    """A plan, and all clusters that can be had for it."""

    plan: Plan
    rivals: Mapping[str, Opener]
    """By family."""
    skipped: Mapping[str, str]
    """Why others cannot be had."""
    versions: tuple[str, ...] = ()

    @asynccontextmanager
    async def ours(self, options: Options, *, title: str = OURS) -> AsyncIterator[RaftswarmCluster]:
        """Run a cluster of ours in a directory of its own."""
        with self.new_directory() as directory:
            async with open_raftswarm(Path(directory), self.plan.payload, options, title=title) as cluster:
                yield cluster

    @asynccontextmanager
    async def rival(self, family: str, links: str) -> AsyncIterator[Cluster]:
        """Run a rival's cluster in a directory of its own."""
        with self.new_directory() as directory:
            async with self.rivals[family](Path(directory), self.plan.payload, links == "tls") as cluster:
                yield cluster

    def new_directory(self) -> tempfile.TemporaryDirectory[str]:
        """Make a directory that goes with its `with` block."""
        return tempfile.TemporaryDirectory(prefix="raftswarm-commits-", dir=self.plan.directory)

    @asynccontextmanager
    async def clusters(self, families: Iterable[str], links: str) -> AsyncIterator[dict[str, Cluster]]:
        """Run a new cluster of each family."""
        os.sync()  # The disk is to be done with what was written, and deleted, before.
        async with AsyncExitStack() as stack:
            clusters: dict[str, Cluster] = {}
            for family in sorted(families):
                opening = self.ours(self.plan.options(links)) if family == OURS else self.rival(family, links)
                clusters[family] = await stack.enter_async_context(opening)
            yield clusters


@contextmanager
def open_arena(plan: Plan) -> Iterator[Arena]:
    """Get what the plan's rivals need; whoever cannot be had is left out, with the reason."""
    rivals: dict[str, Opener] = {}
    skipped: dict[str, str] = {}
    versions: list[str] = []
    with tempfile.TemporaryDirectory(prefix="raftswarm-rivals-") as made:
        if set(plan.peers) & {"etcd", "etcd-txn", "etcd-embedded"}:
            try:
                programs = etcd.build(Path(made))
            except Unavailable as reason:
                skipped["etcd"] = str(reason)
            else:
                versions.append(programs.version)
                rivals["etcd-embedded"] = lambda place, payload, tls: etcd.open_embedded(
                    place, payload, programs, tls=tls
                )
                rivals["etcd"] = lambda place, payload, tls: etcd.open_stock(place, payload, programs, tls=tls)
        if "pysyncobj" in plan.peers and "plain" in plan.links:
            try:
                python = pysyncobj_cluster.install_pysyncobj(Path(made))
            except Unavailable as reason:
                skipped["pysyncobj"] = str(reason)
            else:
                versions.append(f"PySyncObj {pysyncobj_cluster.VERSION}, which never syncs its log")
                rivals["pysyncobj"] = lambda _place, payload, _tls: pysyncobj_cluster.open_pysyncobj(payload, python)
        had = tuple(entrant.title for entrant in ENTRANTS if entrant.family in rivals and entrant.title in plan.peers)
        yield Arena(plan=attrs.evolve(plan, peers=had), rivals=rivals, skipped=skipped, versions=tuple(versions))


def note(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)
