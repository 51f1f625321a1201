"""Opens one member in a program: real disk, real links, real time, around a state machine.

Without credentials the links are plain TCP, and stay on loopback addresses; with them they are mutual TLS.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import PathLike, fspath

import msgspec
import trio

from raftswarm.ca import MANAGER, Credentials, Identity
from raftswarm.consensus.driver import Driver, World
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo
from raftswarm.raft.ready import Write
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.state_directory import lock_state
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.member_links import route_link
from raftswarm.transport.plain import open_plain_network
from raftswarm.transport.tls import open_tls_network
from raftswarm.wire.batch import encode_batch
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.clock import SystemWallClock
from raftswarm.world.network import Link, Network
from raftswarm.world.real_disk import RealDisk, ThreadDiskRunner


@asynccontextmanager
async def open_member(
    directory: str | PathLike[str],
    machine: StateMachine,
    *,
    name: str,
    members: Mapping[str, str],
    cluster: str = "embedded",
    credentials: Credentials | None = None,
    settings: RaftSettings | None = None,
    compaction: CompactionPolicy | None = None,
) -> AsyncIterator[Driver]:
    """Run one member of a replicated state machine for as long as the block lasts.

    Args:
        directory: where this member keeps its log; made on demand, used by one process at a time.
        machine: what is replicated (`raftswarm.raft.StateMachine`).
        name: this member's name among `members`.
        members: name to ``host:port`` of every founding member, the same in each of them.
        cluster: keeps members of different clusters apart.
        credentials: certificate, key and root for mutual TLS; its certificate's node id must be `name`. Without them
            links are plain TCP between loopback addresses.
        settings: timing and limits.
        compaction: when to take snapshots.

    Raises:
        InvalidSpec: the arguments contradict each other, or an address cannot be listened on.
        StorageError: the directory is in use, damaged or of another cluster.
    """
    if name not in members:
        raise InvalidSpec(f"{name} is not among the members {', '.join(members)}")
    place, disk, clock, entropy = fspath(directory), RealDisk(), SystemWallClock(), SystemEntropy()
    own_host = members[name].rpartition(":")[0]
    lock = lock_state(disk, place)
    try:
        async with ThreadDiskRunner() as runner, _open_network(name, cluster, own_host, credentials) as network:
            storage, recovered = _open_storage(disk, place, _founders(cluster, members), name, cluster)
            world = World(
                runner=runner,
                network=network,
                wall_clock=clock,
                chance=random.Random(entropy.token_bytes(16)),  # noqa: S311 - timing, not secrets
            )
            driver = Driver(storage, recovered, machine, world, settings=settings, compaction=compaction)
            try:
                async with open_helpers() as helpers:
                    await helpers.start(_listen, network, members[name], driver)
                    helpers.start_soon(driver.run)
                    yield driver
                    with trio.move_on_after(driver.settings.election_seconds):
                        await driver.hand_over()
            finally:
                runner.submit(storage.close, lambda _: None)
    finally:
        lock.close()


def bootstrap_write(configuration: Configuration, *commands: bytes, time_ns: int = 0) -> Write:
    """The first write of a new log: its members, and maybe first commands, as if a leader of term 1 had left them.

    Every founding member writes the same, so their logs agree before the first election.
    """
    entries = [
        Entry(
            index=1,
            term=1,
            kind=EntryKind.CONFIGURATION,
            first_command=1,
            time_ns=time_ns,
            data=msgspec.msgpack.encode(configuration),
        )
    ]
    if commands:
        batch = encode_batch(commands)
        entries.append(
            Entry(
                index=2,
                term=1,
                kind=EntryKind.COMMANDS,
                first_command=1,
                command_count=batch.command_count,
                time_ns=time_ns,
                data=batch.data,
            )
        )
    return Write(number=0, hard_state=HardState(term=1), entries=tuple(entries), last_index=len(entries), last_term=1)


def _founders(cluster: str, members: Mapping[str, str]) -> Configuration:
    """Ids follow from the names, so that founding members agree on them without talking."""
    infos = (MemberInfo(id=_member_id(cluster, name), address=address, name=name) for name, address in members.items())
    return Configuration(voters=tuple(sorted(infos, key=lambda info: info.id)))


def _member_id(cluster: str, name: str) -> int:
    digest = hashlib.sha256(f"{cluster}/{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 1) or 1


def _open_storage(
    disk: RealDisk, place: str, founders: Configuration, name: str, cluster: str
) -> tuple[MemberStorage, Recovered]:
    keys_directory, raft_directory = f"{place}/certificates", f"{place}/raft"
    entropy = SystemEntropy()
    if KeyRing.exists(disk, keys_directory):
        keys = KeyRing.open(disk, keys_directory, entropy)
    else:
        disk.make_directory(keys_directory)
        keys = KeyRing.create(disk, keys_directory, entropy)
    if not MemberStorage.exists(disk, raft_directory):
        storage = MemberStorage.create(
            disk, raft_directory, keys, entropy, member_id=_member_id(cluster, name), cluster=cluster, incarnation=1
        )
        storage.write(bootstrap_write(founders))
        storage.close()
    return MemberStorage.open(disk, raft_directory, keys, entropy)


def _open_network(
    name: str, cluster: str, host: str, credentials: Credentials | None
) -> AbstractAsyncContextManager[Network]:
    if credentials is None:
        return open_plain_network(Identity(name, MANAGER, cluster), local_host=host)
    return open_tls_network(SystemWallClock(), local_host=host, credentials=credentials)


async def _listen(
    network: Network, address: str, driver: Driver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async def no_calls(link: Link) -> None:
        await link.aclose()

    async def serve(link: Link) -> None:
        await route_link(link, calls=no_calls, members=driver.links.accept)

    await network.serve(address, serve, started=lambda _: task_status.started())
