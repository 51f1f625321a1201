"""Opens one member in a program: real disk, real links, real time, around a state machine.

Without credentials the links are plain TCP, and stay on loopback addresses; with them they are mutual TLS.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import PathLike, fspath

import attrs
import msgspec
import trio

from raftswarm.ca import MANAGER, Credentials, Identity
from raftswarm.consensus.driver import Driver, World
from raftswarm.consensus.meeting import Card, say_who
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.errors import ForeignState, InvalidSpec, RaftSwarmError, Regressed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo
from raftswarm.raft.ready import Write
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.log import DEFAULT_SEGMENT_BYTES
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.state_directory import lock_state
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.member_links import route_link
from raftswarm.transport.plain import open_plain_network
from raftswarm.transport.tls import open_tls_network
from raftswarm.wire.batch import encode_batch
from raftswarm.wire.greetings import Lane
from raftswarm.world.chance import Entropy, SystemEntropy
from raftswarm.world.clock import SystemWallClock
from raftswarm.world.disk import Disk
from raftswarm.world.network import Link, Network
from raftswarm.world.real_disk import RealDisk, ThreadDiskRunner


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

    Raises:
        InvalidSpec: the arguments contradict each other.
        LinkError: the address cannot be listened on.
        StorageError: the directory is in use, damaged or of another member. From within the block: the disk failed, or
            was set back (`Regressed`).
        MachineFailed: from within the block: the state machine raised; the message names the command.
    """
    founding = found(cluster, name, members, address)
    place, disk, clock, entropy = fspath(directory), RealDisk(), SystemWallClock(), SystemEntropy()
    own_host = founding.address.rpartition(":")[0]
    lock = lock_state(disk, place)
    try:
        async with ThreadDiskRunner() as runner, _open_network(name, cluster, own_host, credentials) as network:
            world = World(
                runner=runner,
                network=network,
                wall_clock=clock,
                chance=random.Random(entropy.token_bytes(16)),  # noqa: S311 - timing, not secrets
            )
            opened = open_storage(disk, place, founding, entropy)
            async with run_member(machine, opened, world, founding, settings=settings, compaction=compaction) as member:
                yield member
    finally:
        lock.close()


@attrs.frozen(kw_only=True)
class Founding:
    """What a member is told when it is opened, and an empty directory is begun with."""

    cluster: str
    name: str
    address: str
    members: Configuration | None
    """The founding members; None for one that joins."""

    @property
    def member_id(self) -> int | None:
        """The member's id if it is a founding one; others draw theirs."""
        infos = () if self.members is None else self.members.voters
        return next((info.id for info in infos if info.name == self.name), None)


def found(cluster: str, name: str, members: Mapping[str, str] | None, address: str | None) -> Founding:
    """Check what a member is told; InvalidSpec if it contradicts itself.

    Ids follow from all of it, so that founding members agree on them without talking, and those that were told
    different things do not take each other for members of one cluster.
    """
    if not name:
        raise InvalidSpec("a member needs a name")
    if members is None:
        if not address:
            raise InvalidSpec("say where the member listens: `address`, or `members` with all that found the cluster")
        return Founding(cluster=cluster, name=name, address=address, members=None)
    if address is not None:
        raise InvalidSpec("`members` says where a founding member listens: leave `address` out")
    if name not in members:
        raise InvalidSpec(
            f"{name} is not among the members {', '.join(members)}; one that joins is opened by `address`"
        )
    if len(set(members.values())) < len(members):
        raise InvalidSpec("two of the members have the same address")
    seed = repr((cluster, sorted(members.items())))
    infos = (MemberInfo(id=_derive_id(seed, one), address=place, name=one) for one, place in members.items())
    founders = Configuration(voters=tuple(sorted(infos, key=lambda info: info.id)))
    return Founding(cluster=cluster, name=name, address=members[name], members=founders)


def _derive_id(seed: str, name: str) -> int:
    return _as_id(hashlib.sha256(f"{seed}/{name}".encode()).digest())


def _as_id(digest: bytes) -> int:
    return (int.from_bytes(digest[:8], "big") >> 1) or 1


Opened = tuple[MemberStorage, Recovered]


def open_storage(
    disk: Disk, place: str, founding: Founding, entropy: Entropy, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
) -> Opened:
    """Recover the member of that directory, or begin it; ForeignState if another one lives there."""
    keys_directory, raft_directory = f"{place}/certificates", f"{place}/raft"
    if KeyRing.exists(disk, keys_directory):
        keys = KeyRing.open(disk, keys_directory, entropy)
    else:
        disk.make_directory(keys_directory)
        keys = KeyRing.create(disk, keys_directory, entropy)
    if not MemberStorage.exists(disk, raft_directory):
        member_id = founding.member_id or _as_id(entropy.token_bytes(8))
        storage = MemberStorage.create(
            disk,
            raft_directory,
            keys,
            entropy,
            member_id=member_id,
            cluster=founding.cluster,
            incarnation=1,
            segment_bytes=segment_bytes,
        )
        if founding.members is not None:
            storage.write(bootstrap_write(founding.members))
        storage.close()
    storage, recovered = MemberStorage.open(disk, raft_directory, keys, entropy, segment_bytes=segment_bytes)
    if recovered.cluster != founding.cluster:
        storage.close()
        raise ForeignState(
            f"{place} holds a member of cluster {recovered.cluster!r}, not of {founding.cluster!r}; use another one"
        )
    return storage, recovered


@asynccontextmanager
async def run_member(
    machine: StateMachine,
    opened: Opened,
    world: World,
    founding: Founding,
    *,
    settings: RaftSettings | None,
    compaction: CompactionPolicy | None,
) -> AsyncIterator[RaftMember]:
    """Run an opened member; what stops it comes out of the block as it is, whatever the block made of it."""
    storage, recovered = opened
    driver = Driver(storage, recovered, SessionMachine(machine), world, settings=settings, compaction=compaction)

    async def run(until: trio.CancelScope) -> None:
        with contextlib.suppress(RaftSwarmError):  # Raised below, where no nursery wraps it.
            await driver.run()
        until.cancel()

    try:
        _check_name(driver, founding)
        async with open_helpers() as helpers:
            await helpers.start(_listen, world.network, founding, driver)
            helpers.start_soon(run, helpers.cancel_scope)
            helpers.start_soon(_stop_if_regressed, driver)
            yield RaftMember(driver, machine, world.network, founding.name)
            with trio.move_on_after(driver.settings.election_seconds):
                await driver.hand_over()
    except Exception:
        if driver.failure is None:
            raise
    finally:
        world.runner.submit(storage.close, lambda _: None)
    if driver.failure is not None:
        raise driver.failure


async def _stop_if_regressed(driver: Driver) -> None:
    await driver.regressed.wait_until(bool)
    driver.failed(
        Regressed(
            "another member knows that this one had more on its disk than it found there: the disk was set back or "
            "wiped. Remove this member on the leader, empty its directory, open it by `address` and add it again"
        )
    )


def _check_name(driver: Driver, founding: Founding) -> None:
    info = driver.replica.member.configuration.member(driver.member_id)
    if info is not None and info.name != founding.name:
        raise ForeignState(f"the directory belongs to member {info.name}, not to {founding.name}: use another one")


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


def _open_network(
    name: str, cluster: str, host: str, credentials: Credentials | None
) -> AbstractAsyncContextManager[Network]:
    if credentials is None:
        return open_plain_network(Identity(name, MANAGER, cluster), local_host=host)
    return open_tls_network(SystemWallClock(), local_host=host, credentials=credentials)


async def _listen(
    network: Network,
    founding: Founding,
    driver: Driver,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async def no_calls(link: Link) -> None:
        await link.aclose()

    async def serve_members(link: Link, lane: Lane) -> None:
        if lane is Lane.MEETING:
            await say_who(link, Card(driver.member_id, founding.name, founding.cluster))
        else:
            await driver.links.accept(link, lane)

    async def serve(link: Link) -> None:
        await route_link(link, calls=no_calls, members=serve_members)

    await network.serve(founding.address, serve, started=lambda _: task_status.started())
