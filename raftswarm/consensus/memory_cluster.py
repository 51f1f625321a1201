"""A whole cluster in memory, for tests of programs: what ships, on disks and links that are not there.

It is trio tasks and nothing else, no threads and no sockets, so it runs under trio's `MockClock` too: elections then
take no time at all. A killed member keeps its disk, and goes on from it when it is started again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from random import Random
from typing import Final, Generic, TypeVar

import attrs
import trio

from raftswarm.ca.identity import MANAGER, WORKER, Identity
from raftswarm.consensus.client import TIMEOUT_SECONDS, Client, open_client
from raftswarm.consensus.host import HostWorld, run_host
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.opening import Founding, found
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec, RaftSwarmError
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.transport.helpers import open_helpers, require_trio
from raftswarm.transport.memory import MemoryCable
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.clock import LoopWallClock
from raftswarm.world.inline_runner import InlineDiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk

M = TypeVar("M", bound=StateMachine)

CLUSTER: Final = "memory"
SEGMENT_BYTES: Final = 64 * 1024


@asynccontextmanager
async def open_cluster(
    make_machine: Callable[[], M],
    *,
    members: int | Sequence[str] = 3,
    settings: RaftSettings | None = None,
    compaction: CompactionPolicy | None = None,
    seed: int = 0,
) -> AsyncIterator[MemoryCluster[M]]:
    """Run a cluster in memory for as long as the block lasts.

    Args:
        make_machine: makes the state machine of a member, anew at each start.
        members: how many found the cluster (they are called a, b, c, …), or their names.
        settings: timing and limits.
        compaction: when to take snapshots.
        seed: of whatever is drawn: the timing of elections, keys.

    Raises:
        RaftSwarmError: from within the block: a member failed, and it says why.
    """
    require_trio()
    names = [chr(ord("a") + number) for number in range(members)] if isinstance(members, int) else list(members)
    async with open_helpers() as nursery:
        cluster = MemoryCluster(nursery, names, make_machine, settings, compaction, seed)
        for name in names:
            await cluster.start(name)
        yield cluster
        nursery.cancel_scope.cancel()
    cluster.check()


@attrs.define(eq=False)
class _Place(Generic[M]):
    """What remains of a member when it is killed, and what runs while it is not."""

    founding: Founding
    chance: Random
    disk: SimulatedDisk = attrs.field(factory=SimulatedDisk)
    machine: M | None = None
    member: RaftMember | None = None
    until: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class MemoryCluster(Generic[M]):
    """Members by name; `open_cluster` makes one."""

    def __init__(
        self,
        nursery: trio.Nursery,
        names: Sequence[str],
        make_machine: Callable[[], M],
        settings: RaftSettings | None,
        compaction: CompactionPolicy | None,
        seed: int,
    ) -> None:
        self._nursery = nursery
        self._make_machine = make_machine
        self._settings = settings
        self._compaction = compaction
        self._seed = seed
        self._clients = 0
        self._cable = MemoryCable()
        self._places: dict[str, _Place[M]] = {}
        self._failure: RaftSwarmError | None = None
        self._births = count()
        """One that comes back with an empty disk draws other numbers than it did before: its id, for one."""
        addresses = {name: self.address(name) for name in names}
        for name in names:
            self._add_place(found(CLUSTER, name, addresses, None))

    @property
    def members(self) -> dict[str, RaftMember]:
        """Those that run."""
        return {name: place.member for name, place in self._places.items() if place.member is not None}

    def __getitem__(self, name: str) -> RaftMember:
        """Return a member that runs."""
        return self.members[name]

    def machine(self, name: str) -> M:
        """Return the state machine of a member, as of its newest start."""
        machine = self._places[name].machine
        assert machine is not None, f"{name} has not been started"
        return machine

    def address(self, name: str) -> str:
        """Where a member of that name listens."""
        return f"{name}:7000"

    async def leader(self) -> RaftMember:
        """Return the member that leads, once one does and has applied all that came before."""
        while True:
            for member in self.members.values():
                if member.leadership.value.is_leader:
                    return member
            await self._any_change()

    def client(
        self, *, timeout_seconds: float = TIMEOUT_SECONDS, exactly_once: bool = True
    ) -> AbstractAsyncContextManager[Client]:
        """A client elsewhere, that knows all members there are; use it with ``async with``."""
        self._clients += 1
        name = f"client-{self._clients}"
        return open_client(
            self._cable.plug_plain(name, Identity(name, WORKER, CLUSTER)),
            CLUSTER,
            [self.address(member) for member in self._places],
            Random(f"{self._seed}/{name}"),  # noqa: S311 - timing, and numbers no other client draws
            timeout_seconds=timeout_seconds,
            exactly_once=exactly_once,
        )

    async def start(self, name: str) -> RaftMember:
        """Start a member: one that was killed from its disk; a new name joins, and waits for `add_member`."""
        place = self._places.get(name) or self._add_place(found(CLUSTER, name, None, self.address(name)))
        if place.member is not None:
            raise InvalidSpec(f"{name} runs already")
        place.until, place.ended = trio.CancelScope(), trio.Event()
        member: RaftMember = await self._nursery.start(self._run, place)
        return member

    async def kill(self, name: str) -> None:
        """Stop a member at once, as SIGKILL would: nothing is handed over, peers see their links break."""
        place = self._places[name]
        self._cable.kill(name)
        place.until.cancel()
        await place.ended.wait()

    def wipe(self, name: str) -> None:
        """Empty the disk of a member that does not run: it will come back as one that has lost everything."""
        self._places[name].disk = SimulatedDisk()

    def forget(self, name: str) -> None:
        """Take a member that does not run off the machine: the next one of that name joins."""
        assert name not in self.members, f"{name} runs"
        del self._places[name]

    def check(self) -> None:
        """Raise what stopped a member, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _add_place(self, founding: Founding) -> _Place[M]:
        chance = Random(f"{self._seed}/{next(self._births)}/{founding.name}")  # noqa: S311 - timing, and keys that keep nothing secret
        place: _Place[M] = _Place(founding, chance)
        self._places[founding.name] = place
        return place

    async def _run(self, place: _Place[M], *, task_status: trio.TaskStatus[RaftMember]) -> None:
        founding = place.founding
        world = HostWorld(
            network=self._cable.plug_plain(founding.name, Identity(founding.name, MANAGER, CLUSTER)),
            disk=place.disk,
            runner=InlineDiskRunner(),
            wall_clock=LoopWallClock(),
            entropy=SeededEntropy(place.chance),
            chance=place.chance,
        )
        running = run_host(
            world,
            founding.name,
            name=founding.name,
            address=founding.address,
            cluster=CLUSTER,
            segment_bytes=SEGMENT_BYTES,
        )
        try:
            with place.until:
                place.machine = self._make_machine()
                async with (
                    running as host,
                    host.run(
                        founding, "raft", place.machine, settings=self._settings, compaction=self._compaction
                    ) as member,
                ):
                    place.member = member
                    task_status.started(member)
                    await trio.sleep_forever()
        except RaftSwarmError as failure:
            self._failure = self._failure or failure
            self._nursery.cancel_scope.cancel()
        finally:
            place.member = None
            place.ended.set()

    async def _any_change(self) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(change: trio.Event) -> None:
                await change.wait()
                nursery.cancel_scope.cancel()

            for member in self.members.values():
                nursery.start_soon(wait, member.leadership.next_change)
