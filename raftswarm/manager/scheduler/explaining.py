"""Why a waiting task has no node: every filter, on every node (SWARM 5.2)."""

from __future__ import annotations

from raftswarm.manager.scheduler.filters import Needs, obstacles
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.objects.explanations import NodeExplanation
from raftswarm.objects.records import Node, Task
from raftswarm.store.contracts import Reader
from raftswarm.world.slices import Slices


def explain_placement(reader: Reader, tasks: list[Task]) -> Slices[list[list[NodeExplanation]]]:
    """For each task: what keeps it from each node, or from its own if it was made for one."""
    ledger = yield from Ledger.read(reader.find(Node), reader.find(Task))
    loads = sorted(ledger.loads.values(), key=lambda load: (load.node.description.hostname, load.node.id))
    explained: list[list[NodeExplanation]] = []
    for task in tasks:
        yield
        needs = Needs.of(task)
        explained.append(
            [
                NodeExplanation(
                    node_id=load.node.id, hostname=load.node.description.hostname, obstacles=obstacles(needs, load)
                )
                for load in loads
                if task.node_id in {"", load.node.id}
            ]
        )
    return explained
