"""The machines of a simulated swarm and the ways between them, and how the swarm is formed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import trio

from raftswarm.engine.node_protocol import InitOptions, JoinOptions
from raftswarm.lab.swarm.nodes import LabNode
from raftswarm.lab.swarm.processes import Program
from raftswarm.lab.swarm.world import Observer, SwarmWorld
from raftswarm.manager.control.requests import ClusterAnswer, GetCluster
from raftswarm.objects.records import JoinTokens
from raftswarm.objects.specs import SwarmSpec
from raftswarm.raft.settings import RaftSettings
from raftswarm.store.store import Reader


class Machines:
    """All machines, by name: ``manager-1``, ``worker-1`` and so on."""

    def __init__(self, world: SwarmWorld, raft: RaftSettings) -> None:
        self._world = world
        self._raft = raft
        self._nodes: dict[str, LabNode] = {}
        self.unlock_key = ""
        """Of managers that were locked, once it is known."""

    # Who is there.

    def __getitem__(self, name: str) -> LabNode:
        return self._nodes[name]

    @property
    def nodes(self) -> Sequence[LabNode]:
        """All machines."""
        return tuple(self._nodes.values())

    @property
    def managers(self) -> Sequence[LabNode]:
        """Those that were set up as managers."""
        return tuple(node for node in self.nodes if node.name.startswith("manager"))

    @property
    def workers(self) -> Sequence[LabNode]:
        """The others."""
        return tuple(node for node in self.nodes if not node.name.startswith("manager"))

    @property
    def leader(self) -> LabNode | None:
        """The manager that leads in the highest term that anybody leads in; it may be paused, or cut off."""
        best: tuple[int, LabNode] | None = None
        for node in self.nodes:
            if node.manager is not None and node.is_leader:
                term = node.manager.driver.leadership.value.term
                if best is None or term > best[0]:
                    best = term, node
        return best[1] if best is not None else None

    @property
    def tables(self) -> Reader:
        """The replicated tables, on the manager that has applied the most; they go on changing."""
        roles = [node.manager for node in self.nodes if node.manager is not None]
        if not roles:
            raise LookupError("no manager runs")
        return max(roles, key=lambda role: role.driver.applied.value).store

    def find_task(self, machine: str, host: str) -> str | None:
        """The id of the task that listens at an address of its own; None if `machine` cannot reach one there."""
        for node in self.nodes:
            for directory, process in node.processes.running.items():
                if process.environment.get("RAFTSWARM_TASK_ADDRESS") == host:
                    ways = (self._world.fabric.way(machine, node.host), self._world.fabric.way(node.host, machine))
                    return None if any(way.is_cut for way in ways) else directory.rpartition("/")[2]
        return None

    # The world around them.

    @property
    def now(self) -> float:
        """Simulated seconds since the beginning."""
        return trio.current_time()

    def chance(self, name: str) -> Random:
        """Chance for a scenario to draw from: the same for the same seed and name."""
        return self._world.chance(f"scenario {name}")

    def observe(self, observer: Observer) -> None:
        """Let it hear of every change of the tables from now on."""
        self._world.observers.append(observer)

    def note(self, text: str) -> None:
        """Put something into the trace."""
        self._world.note(text)

    def install(self, program: str, draw: Program) -> None:
        """Have a program of that name on every machine: an image that services can run."""
        self._world.programs[program] = draw

    # Ways.

    def cut(self, sender: LabNode, receiver: LabNode) -> None:
        """Let nothing through in one direction; connections stay open until that shows."""
        self._world.note(f"cut {sender.name} -> {receiver.name}")
        self._world.fabric.way(sender.host, receiver.host).cut()

    def partition(self, one: Iterable[LabNode], other: Iterable[LabNode] | None = None) -> None:
        """Cut both ways between two groups; the second is everybody else if it is not given."""
        inside = list(one)
        outside = [node for node in self.nodes if node not in inside] if other is None else list(other)
        for here in inside:
            for there in outside:
                self.cut(here, there)
                self.cut(there, here)

    def break_links(self, one: LabNode, other: LabNode) -> None:
        """End all connections between two machines; they may connect anew."""
        self._world.note(f"links of {one.name} and {other.name} break")
        self._world.fabric.break_links(one.host, other.host)

    def refuse(self, one: LabNode, other: LabNode) -> None:
        """End all connections between two machines, and refuse new ones: each takes the other for stopped."""
        self._world.note(f"{one.name} and {other.name} are refused to each other")
        self._world.fabric.refuse(one.host, other.host)
        self._world.fabric.refuse(other.host, one.host)
        self._world.fabric.break_links(one.host, other.host)

    def slow_down(self, sender: LabNode, receiver: LabNode, seconds: float) -> None:
        """Let everything take so much longer in one direction."""
        self._world.note(f"{sender.name} -> {receiver.name} takes {seconds:g} s more")
        self._world.fabric.way(sender.host, receiver.host).lag_seconds = seconds

    def mend(self) -> None:
        """Let everybody reach everybody again, as fast as ever."""
        self._world.note("all ways are mended")
        self._world.fabric.refuse_nobody()
        for way in self._world.fabric.ways:
            way.mend()
            way.lag_seconds = 0.0

    async def heal(self) -> None:
        """Undo whatever has befallen machines and ways: all run, unlocked, with clocks and disks in order."""
        self.mend()
        for node in self.nodes:
            node.disk.end_failure()
            node.clock.offset_seconds = 0.0
            await node.resume()
            if node.has_given_up:
                await node.restart()
            await node.start()
            if node.is_locked and self.unlock_key:
                await node.ask(lambda machine: machine.unlock(self.unlock_key))

    # Forming a swarm.

    def add(self, name: str) -> LabNode:
        """Set up a machine, which is in no swarm and not switched on."""
        assert name not in self._nodes, f"there is a {name} already"
        host = f"10.0.0.{len(self._nodes) + 1}"
        node = self._nodes[name] = LabNode(self._world, name, host, self, self._raft)
        return node

    async def form(self, managers: int, workers: int, spec: SwarmSpec | None = None) -> None:
        """Switch on so many machines and make a swarm of them."""
        names = [f"manager-{number + 1}" for number in range(managers)]
        names += [f"worker-{number + 1}" for number in range(workers)]
        for name in names:
            await self.add(name).start()
        await self.init(self.nodes[0], spec)
        tokens = await self.join_tokens(self.nodes[0])
        for node in self.nodes[1:]:
            await self.join(node, tokens.manager if node in self.managers else tokens.worker)

    async def init(self, node: LabNode, spec: SwarmSpec | None = None) -> None:
        """Begin a swarm there."""
        options = InitOptions(spec=spec if spec is not None else SwarmSpec())
        await node.ask(lambda machine: machine.init(options))

    async def join(self, node: LabNode, token: str) -> None:
        """Let a machine join by a token, through the first manager."""
        options = JoinOptions(remote_addresses=(self.nodes[0].address,), join_token=token)
        await node.ask(lambda machine: machine.join(options))

    async def join_tokens(self, manager: LabNode) -> JoinTokens:
        """Ask a manager for what lets others in."""
        answer = await manager.ask(lambda machine: machine.control(GetCluster()))
        assert isinstance(answer, ClusterAnswer), "that is what answers"
        return answer.cluster.join_tokens

    def clear_away(self) -> None:
        """The run is over."""
        for node in self.nodes:
            node.clear_away()
