"""One life of a node's daemon, from its start to its end. What it leaves behind is the machine's.

It is put together as `node.daemon` puts a real one together; whoever wants something of it asks as over its API, and
hears nothing more when it dies.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, Protocol, TypeVar

import attrs
import trio

from raftswarm.ca import Credentials, seeded_key
from raftswarm.ca.keys import SEED_BYTES, PrivateKey
from raftswarm.errors import LinkClosed, StorageError
from raftswarm.lab.conditions import DiskConditions
from raftswarm.lab.disk_runner import VirtualDiskRunner
from raftswarm.lab.swarm.network import SimulatedNodeNetwork
from raftswarm.lab.swarm.ports import SimulatedPorts
from raftswarm.lab.swarm.processes import SimulatedProcesses
from raftswarm.lab.swarm.scheduling import Family
from raftswarm.lab.swarm.world import SwarmWorld
from raftswarm.node.machine import Machine
from raftswarm.node.settings import NodeSettings
from raftswarm.node.world import NodeWorld
from raftswarm.objects.records import NodeDescription, Platform
from raftswarm.storage.state_directory import lock_state
from raftswarm.transport.helpers import open_helpers
from raftswarm.world.chance import Entropy, SeededEntropy
from raftswarm.world.clock import WallClock
from raftswarm.world.network import SwarmNetwork
from raftswarm.world.simulated_disk import SimulatedDisk

T = TypeVar("T")

MOST_REQUESTS: Final = 1000
"""Waiting to be read."""
MOST_DISK_CALLS: Final = 12
"""How far the disk job under way may get when its process is killed."""
DESCRIPTION: Final = NodeDescription(
    platform=Platform(architecture="x86_64", os="linux"),
    nano_cpus=8_000_000_000,
    memory_bytes=16 << 30,
    engine_version="lab",
)


def make_seeded_key(entropy: Entropy) -> PrivateKey:
    """Make a key whose signatures come out the same in every run."""
    return seeded_key(entropy.token_bytes(SEED_BYTES))


class Hardware(Protocol):
    """The machine, as far as its daemon is concerned."""

    name: str
    host: str
    settings: NodeSettings
    disk: SimulatedDisk
    disk_conditions: DiskConditions
    processes: SimulatedProcesses
    ports: SimulatedPorts
    description: NodeDescription

    @property
    def clock(self) -> WallClock:
        """Its date."""
        ...


@attrs.define(eq=False)
class _Request:
    """Something asked of a daemon."""

    call: Callable[[Machine], Awaitable[object]]
    answered: trio.Event = attrs.field(factory=trio.Event)
    answer: Any = None
    error: Exception | None = None

    def fail(self, error: Exception) -> None:
        if not self.answered.is_set():
            self.error = error
            self.answered.set()


class Daemon:
    """A process of one machine."""

    def __init__(self, world: SwarmWorld, hardware: Hardware, life: int) -> None:
        """`life` counts the daemons of that machine: each has other chance."""
        self.hardware = hardware
        self.ended = trio.Event()
        self.family = Family()
        self._world = world
        self._chance = world.chance(f"{hardware.name} {life} end")
        self._completed: list[tuple[Callable[[BaseException | None], None], BaseException | None]] = []
        self._completions = trio.Event()
        self._power = trio.CancelScope()
        self._has_started = False
        self._requests: dict[_Request, None] = {}
        self._send, self._receive = trio.open_memory_channel[_Request](MOST_REQUESTS)
        self.runner = self._make_runner(world.chance(f"{hardware.name} {life} disk"))
        self.machine = Machine(hardware.settings, self._make_world(life))

    def _make_runner(self, chance: Random) -> VirtualDiskRunner:
        def call_back(done: Callable[[BaseException | None], None], error: BaseException | None) -> None:
            self._completed.append((done, error))
            self._completions.set()

        return VirtualDiskRunner(
            self._world.agenda, lambda: self.hardware.disk_conditions.draw_seconds(chance), call_back
        )

    def _make_world(self, life: int) -> NodeWorld:
        world, hardware = self._world, self.hardware

        @asynccontextmanager
        async def open_network(credentials: Credentials | None, host: str) -> AsyncIterator[SwarmNetwork]:
            yield SimulatedNodeNetwork(world.fabric, host, hardware.clock, credentials)

        return NodeWorld(
            disk=hardware.disk,
            runner=self.runner,
            wall_clock=hardware.clock,
            chance=world.chance(f"{hardware.name} {life} chance"),
            entropy=SeededEntropy(world.chance(f"{hardware.name} {life} entropy")),
            processes=hardware.processes,
            ports=hardware.ports,
            describe=lambda: hardware.description,
            open_network=open_network,
            make_key=make_seeded_key,
            applied=lambda tables, context, command, changes: world.applied(
                hardware.name, tables, context, command, changes
            ),
        )

    # Its life.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until it is stopped. Raises why it cannot start; whatever ends it later is a bug, and ends the run."""
        self.family.found()
        try:
            await self._serve(task_status)
        except BaseException as error:
            if self._world.is_over and not isinstance(error, KeyboardInterrupt | SystemExit):
                return
            if not self._has_started:
                raise
            self._world.fail(error)
        finally:
            if not self._world.is_over:
                self._end(loses_power=False)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        hardware = self.hardware
        lock = lock_state(hardware.disk, hardware.settings.state_directory)
        try:
            async with open_helpers() as disk_thread:
                disk_thread.start_soon(self._call_back)
                with self._power:
                    async with open_helpers() as nursery:
                        await nursery.start(self.machine.run)
                        self._has_started = True
                        task_status.started()
                        while True:
                            nursery.start_soon(self._answer, await self._receive.receive())
            with contextlib.suppress(OSError, StorageError):
                self.runner.finish()
        finally:
            lock.close()

    async def _call_back(self) -> None:
        """Hand the disk's results to whoever waits for them, in the loop's next turn, as a thread would."""
        while True:
            await self._completions.wait()
            self._completions = trio.Event()
            completed, self._completed = self._completed, []
            for done, error in completed:
                done(error)

    async def _answer(self, request: _Request) -> None:
        try:
            request.answer = await request.call(self.machine)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            request.error = error
        request.answered.set()

    def _end(self, *, loses_power: bool) -> None:
        """The process is gone."""
        self._world.fabric.end_process(self.hardware.host, loses_power=loses_power)
        self.hardware.ports.end_process()
        if loses_power:
            self.hardware.processes.lose_power()
            self.hardware.disk.lose_power(self._chance)
        else:
            self.hardware.disk.lose_process()
        for request in self._requests:
            request.fail(LinkClosed(f"{self.hardware.name} stopped before it answered"))
        self.ended.set()

    # What may befall it.

    async def ask(self, call: Callable[[Machine], Awaitable[T]]) -> T:
        """Let it do something, as a user who asks over its API; LinkClosed when it stops before it has answered."""
        if self.ended.is_set():
            raise LinkClosed(f"{self.hardware.name} does not run")
        request = _Request(call)
        self._requests[request] = None
        try:
            await self._send.send(request)
            await request.answered.wait()
        finally:
            del self._requests[request]
        if request.error is not None:
            raise request.error
        answer: T = request.answer
        return answer

    async def stop(self) -> None:
        """Tell it to stop (SIGTERM), and wait."""
        self._power.cancel()
        await self.ended.wait()

    async def kill(self, *, loses_power: bool) -> None:
        """End it at once (SIGKILL), or its whole machine: none of its tasks has another turn."""

        def strike() -> None:
            if self.ended.is_set():
                return
            self._world.scheduler.freeze(self.family)
            self.runner.cut(self.hardware.disk, self._chance.randrange(MOST_DISK_CALLS))
            self._end(loses_power=loses_power)

        await self._world.scheduler.between_batches(strike)

    async def pause(self) -> None:
        """Let it do nothing for a while (SIGSTOP): its kernel goes on."""
        await self._world.scheduler.between_batches(lambda: self._world.scheduler.freeze(self.family))

    async def resume(self) -> None:
        """Let it go on."""

        def thaw() -> None:
            if not self.ended.is_set():
                self._world.scheduler.thaw(self.family)

        await self._world.scheduler.between_batches(thaw)

    def clear_away(self) -> None:
        """The run is over: let a killed one's tasks end, with nothing in reach."""
        self._world.scheduler.thaw(self.family)
