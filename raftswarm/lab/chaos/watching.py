"""A service whose replicas are watched, and the swarm around it, as whichever manager answers shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import NodeJson
from raftswarm.api.tasks import TaskJson
from raftswarm.client import EngineClient
from raftswarm.errors import LinkError
from raftswarm.local import LocalNode, LocalSwarm
from raftswarm.objects.defaults import SECOND
from raftswarm.objects.specs import ContainerSpec, Replicated, RestartPolicy, ServiceMode, ServiceSpec, TaskSpec

WATCHED: Final = "chaos-watched"
LOOK_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 1.0
NEXT_SECONDS: Final = 0.2
SETTLE_SECONDS: Final = 60.0


@attrs.frozen(kw_only=True)
class Look:
    """What one look showed."""

    at: float
    running: int
    """Replicas on nodes that are not known to be down, each slot once."""
    doubled: int
    """Running replicas of a slot beyond the first."""
    ready: int
    """Nodes."""
    reachable: int
    """Managers."""
    leader: str


@attrs.define(eq=False)
class Watcher:
    """Looks again and again; remembers what it saw."""

    _swarm: LocalSwarm
    _now: Callable[[], float]
    replicas: int
    looks: list[Look] = attrs.field(factory=list)
    _order: list[LocalNode] = attrs.field(factory=list, init=False)
    """Managers, whoever answered last first."""

    @property
    def managers(self) -> list[LocalNode]:
        """The managers of the swarm."""
        return [node for node in self._swarm.nodes if node.role == "manager"]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            look = await self.look()
            if look is not None:
                self.looks.append(look)
            await trio.sleep(LOOK_SECONDS)

    async def look(self) -> Look | None:
        """Ask managers until one answers, the next one when the last has not within a moment; None if nobody does."""
        order = self._order or self.managers
        answers: list[tuple[list[NodeJson], list[TaskJson]]] = []
        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:

                async def ask(node: LocalNode, turn: int) -> None:
                    await trio.sleep(turn * NEXT_SECONDS)
                    try:
                        async with EngineClient(node.docker_host) as client:
                            answer = (await client.nodes(), await client.tasks({"service": [WATCHED]}))
                    except (ApiError, LinkError):
                        return
                    answers.append(answer)
                    self._order = [node, *(other for other in order if other is not node)]
                    nursery.cancel_scope.cancel()

                for turn, node in enumerate(order):
                    nursery.start_soon(ask, node, turn)
        return see(self._now(), *answers[0]) if answers else None

    async def leader(self) -> str:
        """Who leads, by name; the last known one, or the first manager, if nobody says so for long."""
        with trio.move_on_after(ANSWER_SECONDS * 3):
            while True:
                look = await self.look()
                if look is not None and look.leader:
                    return look.leader
                await trio.sleep(LOOK_SECONDS)
        return next((look.leader for look in reversed(self.looks) if look.leader), self.managers[0].name)

    def is_whole(self, look: Look) -> bool:
        """Tell whether nothing is amiss: every node ready, every manager reachable, every replica running once."""
        return (
            (look.running, look.doubled) == (self.replicas, 0)
            and look.ready == len(self._swarm.nodes)
            and look.reachable == len(self.managers)
        )

    async def wait_whole(self, seconds: float = SETTLE_SECONDS) -> bool:
        """Wait until nothing is amiss, and there are as many processes as replicas; tell whether that came."""
        with trio.move_on_after(seconds):
            while True:
                look = await self.look()
                if look is not None:
                    self.looks.append(look)
                    if self.is_whole(look) and self.processes() == self.replicas:
                        return True
                await trio.sleep(LOOK_SECONDS)
        return False

    def processes(self) -> int:
        """How many processes of tasks there are on all nodes, whoever knows of them."""
        return sum(self._swarm.task_processes(node) for node in self._swarm.nodes)


def see(at: float, nodes: Sequence[NodeJson], tasks: Sequence[TaskJson]) -> Look:
    """Sum up what a manager answered."""
    down = {node.id for node in nodes if node.status.state == "down"}
    slots = Counter(
        task.slot
        for task in tasks
        if task.status.state == "running" and task.desired_state == "running" and task.node_id not in down
    )
    statuses = [(node.hostname, node.manager_status) for node in nodes if node.manager_status is not None]
    return Look(
        at=at,
        running=len(slots),
        doubled=sum(slots.values()) - len(slots),
        ready=sum(node.status.state == "ready" for node in nodes),
        reachable=sum(status.reachability == "reachable" for _, status in statuses),
        leader=next((name for name, status in statuses if status.leader), ""),
    )


def watched_service(replicas: int, starts: Path) -> ServiceSpec:
    """Tasks that write down that they were started, and then wait to be stopped."""
    container = ContainerSpec(
        image="sh",
        command=["sh", "-c", 'echo "$0" >> "$1"; exec sleep 86400', "{{.Task.ID}}", str(starts)],
        stop_grace_period=SECOND,
    )
    return ServiceSpec(
        name=WATCHED,
        task_template=TaskSpec(container_spec=container, restart_policy=RestartPolicy(delay=SECOND // 5)),
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
    )


def started_twice(starts: Path) -> list[str]:
    """Ids of tasks that were started more than once, in order."""
    lines = starts.read_text().split() if starts.exists() else []
    return sorted(task for task, times in Counter(lines).items() if times > 1)
