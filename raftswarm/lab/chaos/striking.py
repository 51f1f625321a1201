"""Carrying faults out on the daemons of a local swarm, and mending them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.api.errors import ApiError
from raftswarm.client import EngineClient
from raftswarm.errors import LinkError
from raftswarm.lab.chaos.schedule import PlannedFault
from raftswarm.local import LocalNode, LocalSwarm
from raftswarm.world.conditions import Conditions, MachineConditions

ANSWER_SECONDS: Final = 2.0


@attrs.frozen
class Nemesis:
    """Strikes and mends, one fault at a time."""

    _swarm: LocalSwarm
    _leader: Callable[[], Awaitable[str]]
    """Who leads now, by name."""

    async def choose(self, fault: PlannedFault) -> list[LocalNode]:
        """Return who is struck: the target first, then who is cut off with it."""
        leader = await self._leader()
        managers = [node for node in self._swarm.nodes if node.role == "manager"]
        followers = [node for node in managers if node.name != leader]
        workers = [node for node in self._swarm.nodes if node.role == "worker"]
        match fault.target:
            case "follower" if followers:
                target = followers[fault.place % len(followers)]
            case "worker" if workers:
                target = workers[fault.place % len(workers)]
            case _:
                target = self._swarm.node(leader)
        if fault.form != "halves":
            return [target]
        return [target, *_company(target, followers, workers, (len(managers) - 1) // 2, fault.place)]

    async def strike(self, fault: PlannedFault, nodes: Sequence[LocalNode]) -> None:
        """Let it happen to them."""
        target = nodes[0]
        match fault.kind:
            case "kill":
                await self._swarm.kill(target, machine=fault.form == "machine")
            case "pause":
                self._swarm.pause(target)
            case "partition":
                self._swarm.conditions = self._network(fault, nodes)
            case _:
                around = self._network(fault, nodes) if fault.form == "lagging" else Conditions()
                self._swarm.conditions = around.with_machines(_machine(fault, target.address))

    async def mend(self, fault: PlannedFault, nodes: Sequence[LocalNode]) -> None:
        """Let it be as before; RaftSwarmError when a daemon does not come back."""
        target = nodes[0]
        match fault.kind:
            case "kill":
                await self._swarm.start(target)
            case "pause":
                self._swarm.resume(target)
            case _:
                self._swarm.conditions = Conditions()
                if fault.kind == "full-disk" and await _state(target) != "active":
                    await self._revive(target)

    async def heal(self) -> None:
        """End all faults, whatever they are."""
        self._swarm.conditions = Conditions()
        for node in self._swarm.nodes:
            self._swarm.resume(node)
        await self._swarm.start(*(node for node in self._swarm.nodes if node.pid is None))

    def _network(self, fault: PlannedFault, nodes: Sequence[LocalNode]) -> Conditions:
        struck = [node.address for node in nodes]
        others = [node.address for node in self._swarm.nodes if node not in nodes]
        calm = Conditions()
        inward = [(other, here) for here in struck for other in others]
        outward = [(here, other) for other, here in inward]
        match fault.form:
            case "alone" | "halves" | "lagging":
                return calm.partitioned([struck, others])
            case "deaf":
                return calm.with_links(*(replace(calm.link(*way), cut=True) for way in inward))
            case "dumb":
                return calm.with_links(*(replace(calm.link(*way), cut=True) for way in outward))
            case "late":
                ways = [replace(calm.link(*way), delay_seconds=fault.amount) for way in (*inward, *outward)]
            case _:
                ways = [replace(calm.link(*way), loss=fault.amount) for way in (*inward, *outward)]
        return calm.with_links(*ways)

    async def _revive(self, node: LocalNode) -> None:
        """Start a daemon again whose node has stopped taking part, as its operator has to when the disk was full."""
        await self._swarm.kill(node)
        await self._swarm.start(node)


def _company(
    target: LocalNode, followers: Sequence[LocalNode], workers: Sequence[LocalNode], minority: int, place: int
) -> list[LocalNode]:
    """Who is cut off together with a node: half of the workers, and followers, a minority of managers in all."""
    others = [node for node in followers if node is not target]
    spare = max(0, minority - (target.role == "manager"))
    shift = place % max(1, len(others))
    aside = [*others[shift:], *others[:shift]][:spare]
    return [*aside, *[node for node in workers if node is not target][: len(workers) // 2]]


def _machine(fault: PlannedFault, host: str) -> MachineConditions:
    match fault.form:
        case "syncs":
            return MachineConditions(host=host, sync_seconds=fault.amount)
        case "writes":
            return MachineConditions(host=host, disk_full=True)
        case "date":
            return MachineConditions(host=host, date_seconds=fault.amount)
        case _:
            return MachineConditions(host=host, clock_rate=fault.amount)


async def _state(node: LocalNode) -> str:
    """What a node says of itself, such as ``active`` or ``error``."""
    try:
        with trio.fail_after(ANSWER_SECONDS):
            async with EngineClient(node.docker_host) as client:
                return (await client.info()).swarm.local_node_state
    except (ApiError, LinkError, trio.TooSlowError):
        return "silent"
