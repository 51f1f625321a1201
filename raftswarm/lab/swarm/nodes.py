"""A machine of a simulated swarm: what outlives its daemon, and what may befall it."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import attrs
import trio

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.engine.node_protocol import LocalInfo, LocalState
from raftswarm.errors import LinkClosed
from raftswarm.lab.conditions import DiskConditions
from raftswarm.lab.host_clock import EPOCH_NS
from raftswarm.lab.swarm.daemon import DESCRIPTION, Daemon
from raftswarm.lab.swarm.ports import SimulatedPorts, Tasks
from raftswarm.lab.swarm.processes import SimulatedProcesses
from raftswarm.lab.swarm.world import SwarmWorld
from raftswarm.node.machine import Machine
from raftswarm.node.manager_role import ManagerRole
from raftswarm.node.settings import DEFAULT_PORT, NodeSettings
from raftswarm.objects.records import NodeDescription
from raftswarm.raft.settings import RaftSettings
from raftswarm.world.simulated_disk import SimulatedDisk

T = TypeVar("T")

SEGMENT_BYTES: Final = 64 * 1024
COMPACTION: Final = CompactionPolicy(snapshot_every_commands=200, keep_entries=50)
"""A swarm that lives for minutes is to take snapshots, and to send some."""


@attrs.define
class NodeClock:
    """A machine's date, which may be wrong."""

    offset_seconds: float = 0.0

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return EPOCH_NS + int((trio.current_time() + self.offset_seconds) * 1e9)


class LabNode:
    """A machine with everything that is on it. Its daemon does not run yet."""

    def __init__(self, world: SwarmWorld, name: str, host: str, tasks: Tasks, raft: RaftSettings) -> None:
        """`tasks` are those of the whole swarm; `raft` are its members' settings."""
        self.name = name
        self.host = host
        self.disk = SimulatedDisk()
        self.disk_conditions = DiskConditions()
        self.clock = NodeClock()
        self.description: NodeDescription = DESCRIPTION
        self.ports = SimulatedPorts(host, tasks)
        self.processes = SimulatedProcesses(world.agenda, world.chance(f"{name} processes"), world.programs, world.note)
        self.settings = NodeSettings(
            state_directory=name,
            hostname=name,
            listen_address=f"{host}:{DEFAULT_PORT}",
            advertise_address=f"{host}:{DEFAULT_PORT}",
            shared_directory=f"{name}-shared",
            task_environment={"PATH": "/bin"},
            raft=raft,
            compaction=COMPACTION,
            segment_bytes=SEGMENT_BYTES,
        )
        self._world = world
        self._daemon: Daemon | None = None
        self._lives: list[Daemon] = []
        self.is_paused = False

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.is_running else ', down'}{', paused' if self.is_paused else ''}>"

    # What it is like.

    @property
    def address(self) -> str:
        """Where other nodes reach it."""
        return self.settings.advertise_address

    @property
    def is_running(self) -> bool:
        """Tell whether its daemon does, paused or not."""
        return self._daemon is not None and not self._daemon.ended.is_set()

    @property
    def machine(self) -> Machine | None:
        """The node as code, while its daemon runs: to look at, not to call."""
        return self._daemon.machine if self._daemon is not None and self.is_running else None

    @property
    def manager(self) -> ManagerRole | None:
        """Its manager's part, while that runs: to look at, not to call."""
        return self.machine.manager if self.machine is not None else None

    @property
    def info(self) -> LocalInfo | None:
        """What it says of itself; None while its daemon does not run."""
        return self.machine.info() if self.machine is not None else None

    @property
    def id(self) -> str:
        """Its node id; empty while it is in no swarm, locked, or down."""
        return self.info.node_id if self.info is not None else ""

    @property
    def is_leader(self) -> bool:
        """Tell whether its member believes that it leads."""
        return self.manager is not None and self.manager.driver.leadership.value.is_leader

    @property
    def is_locked(self) -> bool:
        """Tell whether it waits for its unlock key."""
        return self.info is not None and self.info.state is LocalState.LOCKED

    @property
    def has_given_up(self) -> bool:
        """Tell whether the daemon runs and takes no part any more: its disk has failed, say."""
        return self.info is not None and self.info.state is LocalState.ERROR

    @property
    def running_tasks(self) -> frozenset[str]:
        """Ids of the tasks that really run here, whatever anybody believes."""
        prefix = f"{self.settings.state_directory}/tasks/"
        return frozenset(directory.removeprefix(prefix) for directory in self.processes.running)

    async def ask(self, call: Callable[[Machine], Awaitable[T]]) -> T:
        """Let its daemon do something, as a user of its API; LinkClosed when it stops, or does not run."""
        if self._daemon is None:
            raise LinkClosed(f"{self.name} does not run")
        return await self._daemon.ask(call)

    # What befalls it.

    async def start(self) -> None:
        """Switch it on, unless it is; raises what keeps its daemon from starting."""
        if self.is_running:
            return
        self._world.note(f"{self.name} starts")
        self._world.fabric.restore_power(self.host)
        daemon = self._daemon = Daemon(self._world, self, len(self._lives))
        self._lives.append(daemon)
        await self._world.nursery.start(daemon.run)

    async def stop(self) -> None:
        """Tell its daemon to stop, and wait until it has; its tasks go on."""
        await self.resume()
        if self._daemon is not None and self.is_running:
            self._world.note(f"{self.name} is told to stop")
            await self._daemon.stop()

    async def restart(self) -> None:
        """Stop and start."""
        await self.stop()
        await self.start()

    async def crash(self, *, power: bool = False) -> None:
        """Kill its daemon, or let the machine lose its power: then unsynced writes and all tasks are lost, too."""
        if self._daemon is not None and self.is_running:
            self._world.note(f"{self.name} {'loses its power' if power else 'is killed'}")
            await self._daemon.kill(loses_power=power)
            self.is_paused = False

    async def pause(self) -> None:
        """Let its daemon do nothing until `resume` (SIGSTOP); time goes on, and its tasks do."""
        if self._daemon is not None and self.is_running and not self.is_paused:
            self._world.note(f"{self.name} is paused")
            self.is_paused = True
            await self._daemon.pause()

    async def resume(self) -> None:
        """Let it go on."""
        if self._daemon is not None and self.is_paused:
            self._world.note(f"{self.name} goes on")
            self.is_paused = False
            await self._daemon.resume()

    def fill_disk(self) -> None:
        """Let no write succeed until `free_disk`."""
        self._world.note(f"the disk of {self.name} is full")
        self.disk.fail_from_now(OSError(errno.ENOSPC, "No space left on device"), is_lasting=True)

    def free_disk(self) -> None:
        """Let writes succeed again."""
        self._world.note(f"the disk of {self.name} has room")
        self.disk.end_failure()

    def shift_clock(self, seconds: float) -> None:
        """Let its date jump."""
        self._world.rules.distrust_clocks()
        self._world.note(f"the clock of {self.name} jumps by {seconds:g} s")
        self.clock.offset_seconds += seconds

    def end_task(self, task_id: str, exit_code: int = 137) -> None:
        """Let the process of a task that runs here end."""
        self.processes.running[f"{self.settings.state_directory}/tasks/{task_id}"].end(exit_code)

    def clear_away(self) -> None:
        """The run is over."""
        for daemon in self._lives:
            daemon.clear_away()
