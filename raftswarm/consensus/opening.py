"""Opens one member of a replicated state machine: what it is told, what its disk says, and running it on a host."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import attrs
import msgspec
import trio

from raftswarm.consensus.driver import Driver, World
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.errors import ForeignState, InvalidSpec, RaftSwarmError, Regressed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine, machine_errors, prepare_restore
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.log import DEFAULT_SEGMENT_BYTES
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.sockets import parse_address
from raftswarm.wire.batch import encode_batch
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk
from raftswarm.world.jobs import run_job
from raftswarm.world.network import Network


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
    """Check what a member is told; InvalidSpec if it contradicts itself, TypeError if it is not text.

    Ids follow from all of it, so that founding members agree on them without talking, and those that were told
    different things do not take each other for members of one cluster.
    """
    for told, what in ((cluster, "cluster"), (name, "name"), (address or "", "address")):
        _check_text(told, what)
    if not name:
        raise InvalidSpec("a member needs a name")
    if members is None:
        if not address:
            raise InvalidSpec("say where the member listens: `address`, or `members` with all that found the cluster")
        return Founding(cluster=cluster, name=name, address=address, members=None)
    if not isinstance(members, Mapping):
        raise TypeError(f"members maps names to addresses; {type(members).__name__} does not")
    for told in (*members.keys(), *members.values()):
        _check_text(told, "each name and address in members")
    if address is not None:
        raise InvalidSpec("`members` says where a founding member listens: leave `address` out")
    if name not in members:
        raise InvalidSpec(
            f"{name} is not among the members {', '.join(members)}; one that joins is opened by `address`"
        )
    if len(set(members.values())) < len(members):
        raise InvalidSpec("two of the members have the same address")
    for place in members.values():
        if parse_address(place).port == 0:
            raise InvalidSpec(f"the others could not find {place}: choose a port")
    seed = repr((cluster, sorted(members.items())))
    infos = (MemberInfo(id=_derive_id(seed, one), address=place, name=one) for one, place in members.items())
    founders = Configuration(voters=tuple(sorted(infos, key=lambda info: info.id)))
    return Founding(cluster=cluster, name=name, address=members[name], members=founders)


def _check_text(told: object, what: str) -> None:
    if not isinstance(told, str):
        raise TypeError(f"{what} is a str, not {type(told).__name__}")


def _derive_id(seed: str, name: str) -> int:
    return _as_id(hashlib.sha256(f"{seed}/{name}".encode()).digest())


def _as_id(digest: bytes) -> int:
    return (int.from_bytes(digest[:8], "big") >> 1) or 1


def open_storage(
    disk: Disk,
    place: str,
    keys: KeyRing,
    founding: Founding,
    entropy: Entropy,
    *,
    segment_bytes: int = DEFAULT_SEGMENT_BYTES,
) -> tuple[MemberStorage, Recovered]:
    """Recover the member of that directory, or begin it; a disk job. ForeignState if another one lives there."""
    if not MemberStorage.exists(disk, place):
        member_id = founding.member_id or _as_id(entropy.token_bytes(8))
        storage = MemberStorage.create(
            disk,
            place,
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
    storage, recovered = MemberStorage.open(disk, place, keys, entropy, segment_bytes=segment_bytes)
    if recovered.cluster != founding.cluster:
        storage.close()
        raise ForeignState(
            f"{place} holds a member of cluster {recovered.cluster!r}, not of {founding.cluster!r}; use another one"
        )
    return storage, recovered


def prepare_newest(storage: MemberStorage, machine: StateMachine) -> Callable[[], None]:
    """Read the newest snapshot beside the machine's state, a disk job; return what puts it in place, on the loop.

    Raises:
        MachineFailed: the machine does not take it; then, or when it is put in place.
        CorruptLog: it is damaged.
    """
    newest = storage.open_snapshot()
    if newest is None:
        return lambda: None
    offer, chunks = newest
    when = f"while restoring the snapshot up to entry {offer.snapshot.index}"
    try:
        with machine_errors(when):
            put_in_place = prepare_restore(machine, chunks)
    except BaseException:
        chunks.close()  # What failed may hold it for long.
        raise

    def restore() -> None:
        with machine_errors(when):
            put_in_place()

    return restore


@asynccontextmanager
async def run_member(
    machine: StateMachine,
    opening: Callable[[], tuple[MemberStorage, Recovered]],
    world: World,
    network: Network,
    founding: Founding,
    *,
    settings: RaftSettings | None,
    compaction: CompactionPolicy | None,
) -> AsyncIterator[RaftMember]:
    """Open a member and run it; what stops it comes out of the block as it is, whatever the block made of it.

    `opening` is the disk job that opens its storage.
    """
    with contextlib.ExitStack() as at_the_end:
        driver = await _recover(opening, SessionMachine(machine), world, at_the_end, settings, compaction)
        _check_name(driver, founding)
        try:
            async with open_helpers() as helpers:
                helpers.start_soon(_run, driver, helpers.cancel_scope)
                helpers.start_soon(_stop_if_regressed, driver)
                yield RaftMember(driver, machine, network, founding.name, world.chance)
                with trio.move_on_after(driver.settings.election_seconds):
                    await driver.hand_over()
        except Exception:
            if driver.failure is None:
                raise
        if driver.failure is not None:
            raise driver.failure


async def _recover(
    opening: Callable[[], tuple[MemberStorage, Recovered]],
    machine: StateMachine,
    world: World,
    at_the_end: contextlib.ExitStack,
    settings: RaftSettings | None,
    compaction: CompactionPolicy | None,
) -> Driver:
    """Return the driver of what is on disk. Nobody else holds what was recovered: compaction is to make it free."""
    opened: list[tuple[MemberStorage, Recovered]] = []
    with trio.CancelScope(shield=True):  # What was opened has to be closed.
        opened.append(await run_job(world.runner, opening))
    storage, recovered = opened.pop()
    at_the_end.callback(world.runner.submit, storage.close, lambda _: None)
    restore = await run_job(world.runner, partial(prepare_newest, storage, machine))
    restore()
    return Driver(storage, recovered, machine, world, settings=settings, compaction=compaction)


async def _run(driver: Driver, until: trio.CancelScope) -> None:
    with contextlib.suppress(RaftSwarmError):  # Raised by `run_member`, where no nursery wraps it.
        await driver.run()
    until.cancel()


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


def bootstrap_write(
    configuration: Configuration, *commands: bytes, time_ns: int = 0, behind: SnapshotMeta | None = None
) -> Write:
    """The first write of a new log, or of a new epoch behind an old one: its members, and maybe first commands.

    It is as if a leader of the next term had left them. Every founding member writes the same, so their logs agree
    before the first election.
    """
    behind = behind or SnapshotMeta()
    index, term = behind.index + 1, behind.term + 1
    time_ns = max(time_ns, behind.time_ns + 1) if behind.index else time_ns
    entries = [
        Entry(
            index=index,
            term=term,
            kind=EntryKind.CONFIGURATION,
            first_command=behind.commands + 1,
            time_ns=time_ns,
            data=msgspec.msgpack.encode(configuration),
        )
    ]
    if commands:
        batch = encode_batch(commands)
        entries.append(
            Entry(
                index=index + 1,
                term=term,
                kind=EntryKind.COMMANDS,
                first_command=behind.commands + 1,
                command_count=batch.command_count,
                time_ns=time_ns,
                data=batch.data,
            )
        )
    last_index = entries[-1].index
    return Write(
        number=0, hard_state=HardState(term=term), entries=tuple(entries), last_index=last_index, last_term=term
    )


def end_of_log(recovered: Recovered) -> SnapshotMeta:
    """Describe where a log ends, as a snapshot of all of it would; the term is the one in force.

    Whether its last entries are committed, nobody can know who has only this log.
    """
    end = recovered.snapshot
    for entry in recovered.entries:
        if entry.index > recovered.snapshot.index:
            is_configuration = entry.kind is EntryKind.CONFIGURATION
            end = SnapshotMeta(
                index=entry.index,
                term=entry.term,
                commands=entry.first_command + entry.command_count - 1,
                time_ns=entry.time_ns,
                configuration=_read_configuration(entry.data) if is_configuration else end.configuration,
            )
    return msgspec.structs.replace(end, term=max(end.term, recovered.hard_state.term))


def _read_configuration(data: bytes) -> Configuration:
    return msgspec.msgpack.decode(data, type=Configuration)
