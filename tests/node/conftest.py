"""Machines of one swarm in one process: simulated disks, a cable in memory, processes that are only counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import shake_256
from random import Random

import attrs
import pytest
import trio

from raftswarm.ca import Credentials
from raftswarm.node.machine import Machine
from raftswarm.node.settings import NodeSettings
from raftswarm.node.world import NodeWorld
from raftswarm.objects.records import NodeDescription
from raftswarm.transport.memory import MemoryCable
from raftswarm.world.network import SwarmNetwork
from raftswarm.world.processes import Process
from raftswarm.world.real_ports import RealPorts
from raftswarm.world.secret_sources import SecretSource
from raftswarm.world.simulated_disk import SimulatedDisk

BEGIN_NS = 1_800_000_000 * 1_000_000_000


class Clock:
    """A date that goes on with trio's clock."""

    def now_ns(self) -> int:
        return BEGIN_NS + int(trio.current_time() * 1e9) % 10**15


@attrs.define
class SeededEntropy:
    seed: str
    drawn: int = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return shake_256(f"{self.seed} {self.drawn}".encode()).digest(count)


class PromptRunner:
    """Does each job at once, and tells of it in the loop's next turn, as a thread would."""

    def submit(self, job: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        failure: BaseException | None = None
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the protocol: whatever it raised goes to `done`
            failure = error
        trio.lowlevel.current_trio_token().run_sync_soon(done, failure)


@attrs.define(eq=False)
class CountedProcess:
    pid: int
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def wait(self) -> int:
        await self.ended.wait()
        return 0

    def signal(self, number: int) -> None:  # noqa: ARG002 - the protocol's
        self.ended.set()


@attrs.define
class CountedProcesses:
    """What runs on one machine."""

    running: dict[str, CountedProcess] = attrs.field(factory=dict)

    def find(self, program: str, search_path: str) -> bool:  # noqa: ARG002 - the protocol's
        return True

    async def spawn(
        self,
        directory: str,
        command: Sequence[str],  # noqa: ARG002 - the protocol's, as the next two are
        environment: Mapping[str, str],  # noqa: ARG002
        *,
        working_directory: str = "",  # noqa: ARG002
    ) -> Process:
        await trio.lowlevel.checkpoint()
        process = self.running[directory] = CountedProcess(pid=len(self.running) + 1)
        return process

    async def adopt(self, directory: str) -> Process | int | None:
        await trio.lowlevel.checkpoint()
        return self.running.get(directory)

    async def remove(self, directory: str) -> None:
        await trio.lowlevel.checkpoint()
        self.running.pop(directory, None)


@attrs.define(eq=False)
class Room:
    """A machine with what outlives its daemon."""

    machine: Machine
    settings: NodeSettings
    world: NodeWorld
    disk: SimulatedDisk
    processes: CountedProcesses
    power: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stopped: trio.Event = attrs.field(factory=trio.Event)

    @property
    def address(self) -> str:
        return self.settings.advertise_address


@attrs.define(eq=False)
class Hall:
    """All machines, on one cable."""

    nursery: trio.Nursery
    cable: MemoryCable = attrs.field(factory=MemoryCable)

    def furnish(self, name: str) -> Room:
        """Make a machine; it does not run yet."""
        host = f"10.0.0.{sum(name.encode()) % 250}"
        disk, clock, processes = SimulatedDisk(), Clock(), CountedProcesses()
        disk.make_directory("state")

        @asynccontextmanager
        async def open_network(credentials: Credentials | None, own_host: str) -> AsyncIterator[SwarmNetwork]:
            yield self.cable.plug(own_host, clock, credentials)

        settings = NodeSettings(
            state_directory="state",
            hostname=name,
            listen_address=f"{host}:2377",
            advertise_address=f"{host}:2377",
            shared_directory="shared",
            task_environment={"PATH": "/bin"},
        )
        world = NodeWorld(
            disk=disk,
            runner=PromptRunner(),
            wall_clock=clock,
            chance=Random(name),
            entropy=SeededEntropy(name),
            processes=processes,
            ports=RealPorts(),
            describe=NodeDescription,
            open_network=open_network,
        )
        return Room(Machine(settings, world), settings, world, disk, processes)

    async def start(self, name: str) -> Room:
        """Make a machine and switch it on."""
        room = self.furnish(name)
        await self.nursery.start(self._run, room)
        return room

    async def stop(self, room: Room) -> None:
        """Tell its daemon to stop, and wait."""
        room.power.cancel()
        await room.stopped.wait()

    async def kill(self, room: Room) -> None:
        """Nobody hears from it any more."""
        self.cable.kill(room.address.partition(":")[0])
        await self.stop(room)

    async def restart(self, room: Room, *, unlock_sources: Sequence[tuple[str, SecretSource]] = ()) -> None:
        """Begin the next life of its daemon."""
        room.machine = Machine(room.settings, room.world, unlock_sources)
        room.power, room.stopped = trio.CancelScope(), trio.Event()
        await self.nursery.start(self._run, room)

    async def _run(self, room: Room, *, task_status: trio.TaskStatus[None]) -> None:
        stopped = room.stopped
        with room.power:
            await room.machine.run(task_status=task_status)
        stopped.set()


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    async with trio.open_nursery() as nursery:
        yield Hall(nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy("test")
