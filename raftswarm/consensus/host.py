"""One process's part in any number of Raft groups: what they share, and opening their members.

The one big idea: whatever costs something once is there once. All groups of a host use one state directory and its
lock, one thread that waits for the disk, one key ring, one address to listen on, and one set of links to each other
host; a group adds its log and its member. A program with a single group opens a host with nothing else on it.

Without credentials the links are plain TCP, and stay on loopback addresses; with them they are mutual TLS.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from os import PathLike, fspath
from typing import Final

import attrs
import trio

from raftswarm.ca import MANAGER, Credentials, Identity
from raftswarm.consensus.driver import World
from raftswarm.consensus.meeting import Card, say_who
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.opening import Founding, found, open_storage, run_member
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.serving import greet_client, serve_client
from raftswarm.consensus.trace_file import open_trace
from raftswarm.errors import InvalidSpec
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine, check_machine
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.log import DEFAULT_SEGMENT_BYTES
from raftswarm.storage.state_directory import lock_state
from raftswarm.transport.helpers import open_helpers, require_trio
from raftswarm.transport.host_links import HostLinks
from raftswarm.transport.member_links import route_link
from raftswarm.transport.plain import open_plain_network
from raftswarm.transport.tls import open_tls_network
from raftswarm.wire.greetings import Lane
from raftswarm.world.chance import Entropy, SystemEntropy
from raftswarm.world.clock import SystemWallClock, WallClock
from raftswarm.world.disk import Disk, DiskRunner
from raftswarm.world.garbage import PLAN
from raftswarm.world.jobs import run_job
from raftswarm.world.network import Link, Network
from raftswarm.world.real_disk import RealDisk, ThreadDiskRunner
from raftswarm.world.watchdog import watch_loop

GROUP_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@asynccontextmanager
async def open_member(
    directory: str | PathLike[str],
    machine: StateMachine,
    *,
    name: str,
    members: Mapping[str, str] | None = None,
    address: str | None = None,
    cluster: str = "embedded",
    credentials: Credentials | None = None,
    settings: RaftSettings | None = None,
    compaction: CompactionPolicy | None = None,
    trace: str | PathLike[str] | TraceSink | None = None,
    plan_collections: bool = True,
) -> AsyncIterator[RaftMember]:
    """Run one member of a replicated state machine for as long as the block lasts.

    The members that found a cluster are opened with `members`, the same in each of them. One that joins later is opened
    with its `address` instead, and waits for `RaftMember.add_member` on the leader. Once a directory holds a member,
    the log says who takes part, and either way of opening it will do.

    Args:
        directory: where this member keeps its log; made on demand, used by one process at a time.
        machine: what is replicated (`raftswarm.StateMachine`).
        name: what this member is called.
        members: name to ``host:port`` of every founding member.
        address: ``host:port`` where this member listens, if it is not among founding members.
        cluster: keeps members of different clusters apart.
        credentials: certificate, key and root for mutual TLS; its certificate's node id must be `name`. Without them
            links are plain TCP between loopback addresses.
        settings: timing and limits.
        compaction: when to take snapshots.
        trace: a file to add every state change to, one line of JSON each (docs/formats.md), or a function that takes
            them as they happen and must not raise.
        plan_collections: keep this process's garbage collections short meanwhile (docs/embedding.md).

    Raises:
        InvalidSpec: the arguments contradict each other, or the trace cannot be written there.
        LinkError: the address cannot be listened on.
        StorageError: the directory is in use, damaged or of another member. From within the block: the disk failed, or
            was set back (`Regressed`).
        MachineFailed: from within the block: the state machine raised; the message names the command.
    """
    founding = found(cluster, name, members, address)
    with open_trace(trace) as sink:
        async with open_host(
            directory,
            name=name,
            address=founding.address,
            cluster=cluster,
            credentials=credentials,
            plan_collections=plan_collections,
        ) as host:
            running = host.run(founding, "raft", machine, settings=settings, compaction=compaction, trace=sink)
            async with running as member:
                yield member


@asynccontextmanager
async def open_host(
    directory: str | PathLike[str],
    *,
    name: str,
    address: str,
    cluster: str = "embedded",
    credentials: Credentials | None = None,
    plan_collections: bool = True,
) -> AsyncIterator[Host]:
    """Take part in groups of members, opened with `Host.open_member`, for as long as the block lasts.

    Args:
        directory: where the members keep their logs; made on demand, used by one process at a time.
        name: what this host's members are called, in all of their groups.
        address: ``host:port`` where it listens.
        cluster: keeps hosts of different clusters apart.
        credentials: as of `raftswarm.open_member`.
        plan_collections: as of `raftswarm.open_member`.

    Raises:
        LinkError: the address cannot be listened on.
        StorageError: the directory is in use, or damaged.
    """
    require_trio()
    if not name or not address:
        raise InvalidSpec("a host needs a name, and an address to listen on")
    place, disk, clock, entropy = fspath(directory), RealDisk(), SystemWallClock(), SystemEntropy()
    lock = lock_state(disk, place)
    try:
        local_host = address.rpartition(":")[0]
        async with ThreadDiskRunner() as runner, _open_network(name, cluster, local_host, credentials) as network:
            world = HostWorld(
                network=network,
                disk=disk,
                runner=runner,
                wall_clock=clock,
                entropy=entropy,
                chance=random.Random(entropy.token_bytes(16)),  # noqa: S311 - timing, not secrets
            )
            async with run_host(world, place, name=name, address=address, cluster=cluster) as host:
                with watch_loop(), PLAN.in_force() if plan_collections else nullcontext():
                    yield host
    finally:
        lock.close()


@attrs.frozen(kw_only=True)
class HostWorld:
    """What a host takes from outside."""

    network: Network
    disk: Disk
    runner: DiskRunner
    wall_clock: WallClock
    entropy: Entropy
    chance: random.Random


@asynccontextmanager
async def run_host(
    world: HostWorld,
    place: str,
    *,
    name: str,
    address: str,
    cluster: str,
    segment_bytes: int = DEFAULT_SEGMENT_BYTES,
) -> AsyncIterator[Host]:
    """Listen, and keep links, for as long as the block lasts; `place` is a directory that nobody else uses."""
    keys = await run_job(world.runner, partial(_open_keys, world.disk, f"{place}/certificates", world.entropy))
    host = Host(world, place, keys, name=name, address=address, cluster=cluster, segment_bytes=segment_bytes)
    async with open_helpers() as helpers:
        await helpers.start(host.listen)
        helpers.start_soon(host.keep_links)
        yield host


class Host:
    """Where members of groups run; made by `open_host`."""

    def __init__(
        self, world: HostWorld, place: str, keys: KeyRing, *, name: str, address: str, cluster: str, segment_bytes: int
    ) -> None:
        self.name = name
        self.address = address
        self.cluster = cluster
        self._world = world
        self._links = HostLinks(world.network, world.chance)
        self._place = place
        self._keys = keys
        self._segment_bytes = segment_bytes
        self._open: set[str] = set()
        """Groups that have a member here, or are about to."""
        self._cards: dict[str, Callable[[], Card]] = {}
        """Who runs here, by group."""
        self._served: dict[str, Callable[[Link], Awaitable[None]]] = {}
        """Who serves clients, by group."""

    @asynccontextmanager
    async def open_member(
        self,
        group: str,
        machine: StateMachine,
        *,
        members: Mapping[str, str] | None = None,
        settings: RaftSettings | None = None,
        compaction: CompactionPolicy | None = None,
        trace: str | PathLike[str] | TraceSink | None = None,
    ) -> AsyncIterator[RaftMember]:
        """Run this host's member of a group for as long as the block lasts; other groups go on when it stops.

        Args:
            group: names the group on all of its hosts, and its directory here: small letters, digits, ``_``, ``.``
                and ``-``.
            machine: what the group replicates.
            members: host name to ``host:port`` of every founding member, this host among them. Without it, the member
                joins: it waits for `RaftMember.add_member` on the group's leader.
            settings: timing and limits.
            compaction: when to take snapshots.
            trace: as of `raftswarm.open_member`.

        Raises:
            InvalidSpec: the arguments contradict each other or the host, or the group is open here already.
            StorageError, MachineFailed: as of `raftswarm.open_member`.
        """
        if not GROUP_NAME.fullmatch(group):
            raise InvalidSpec(
                f"{group!r} cannot name a group: use up to 63 small letters, digits, '_', '.' and '-', and begin with "
                "a letter or digit"
            )
        founding = found(f"{self.cluster}/{group}", self.name, members, None if members else self.address)
        if founding.address != self.address:
            raise InvalidSpec(f"{self.name} listens on {self.address}, and not on {founding.address} as `members` says")
        place = f"groups/{group}"
        with open_trace(trace) as sink:
            async with self.run(
                founding, place, machine, settings=settings, compaction=compaction, trace=sink
            ) as member:
                yield member

    @asynccontextmanager
    async def run(
        self,
        founding: Founding,
        directory: str,
        machine: StateMachine,
        *,
        settings: RaftSettings | None,
        compaction: CompactionPolicy | None,
        trace: TraceSink | None = None,
    ) -> AsyncIterator[RaftMember]:
        """Run the member that keeps its log in that directory of the host."""
        check_machine(machine)
        group = founding.cluster
        if group in self._open:
            raise InvalidSpec(f"this host has opened its member of {group} already")
        self._open.add(group)
        try:
            world = World(
                runner=self._world.runner,
                links=self._links,
                wall_clock=self._world.wall_clock,
                chance=self._world.chance,
                trace=trace,
            )
            opening = partial(
                open_storage,
                self._world.disk,
                f"{self._place}/{directory}",
                self._keys,
                founding,
                self._world.entropy,
                segment_bytes=self._segment_bytes,
            )
            async with run_member(
                machine, opening, world, self._world.network, founding, settings=settings, compaction=compaction
            ) as member:
                self._cards[group] = partial(_introduce, member, self.name, group)
                self._served[group] = partial(serve_client, driver=member.driver, machine=machine)
                PLAN.settle()
                yield member
        finally:
            self._served.pop(group, None)
            self._cards.pop(group, None)
            self._open.remove(group)

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve what others dial, until cancelled."""
        await self._world.network.serve(self.address, self._serve, started=lambda _: task_status.started())

    async def keep_links(self) -> None:
        """Keep links to the other hosts, until cancelled."""
        await self._links.run()

    async def _serve(self, link: Link) -> None:
        async def no_calls(link: Link) -> None:
            await link.aclose()

        async def serve_clients(link: Link) -> None:
            await greet_client(link, self._served)

        await route_link(link, calls=no_calls, members=self._serve_members, clients=serve_clients)

    async def _serve_members(self, link: Link, lane: Lane) -> None:
        if lane is Lane.MEETING:
            await say_who(link, self._cards)
        else:
            await self._links.accept(link, lane)


def _introduce(member: RaftMember, name: str, group: str) -> Card:
    return Card(member.driver.member_id, name, group, member.configuration.value.member_ids)


def _open_network(
    name: str, cluster: str, host: str, credentials: Credentials | None
) -> AbstractAsyncContextManager[Network]:
    if credentials is None:
        return open_plain_network(Identity(name, MANAGER, cluster), local_host=host)
    return open_tls_network(SystemWallClock(), local_host=host, credentials=credentials)


def _open_keys(disk: Disk, place: str, entropy: Entropy) -> KeyRing:
    if KeyRing.exists(disk, place):
        return KeyRing.open(disk, place, entropy)
    disk.make_directory(place)
    return KeyRing.create(disk, place, entropy)
