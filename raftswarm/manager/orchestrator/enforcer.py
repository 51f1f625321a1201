"""The constraint enforcer: takes tasks off nodes that no longer meet what they ask for (SWARM 4.7).

It writes the *observed* state of such tasks, so that whoever restarts tasks finds them ended. Constraints are the
task's own: where an update has changed them, the update moves it. Of tasks that no longer all fit the oldest stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
from msgspec import structs

from raftswarm.manager.loops import SteadyClock, Tables, keep_serving, write_actions
from raftswarm.objects.records import Node, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import age, fits, holds_resources, is_active, reservations, suitability
from raftswarm.store.contracts import Change, Transaction, Writes
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices, run_sliced

MESSAGE: Final = "task rejected by constraint enforcer"
ERROR: Final = "assigned node no longer meets constraints"


@attrs.frozen
class RejectTask:
    """End a task where it is."""

    task_id: str
    node: Node
    """As it was when that was decided."""
    now: int

    def write(self, transaction: Transaction) -> None:
        """Write it, unless the task has ended or the node has changed since: then the node is looked at again."""
        task, node = transaction.get(Task, self.task_id), transaction.get(Node, self.node.id)
        if task is None or not _is_bound(task) or node is None or suitability(node) != suitability(self.node):
            return
        status = structs.replace(
            task.status, state=TaskState.REJECTED, timestamp=self.now, applied_at=self.now, message=MESSAGE, error=ERROR
        )
        transaction.update(structs.replace(task, status=status))


def plan_rejections(node: Node, tasks: Iterable[Task], *, now: int) -> Slices[list[RejectTask]]:
    """Decide about the tasks of a node. One that is paused or drained is left to others."""
    actions: list[RejectTask] = []
    if node.spec.availability != "active":
        return actions
    cpus, memory = node.description.nano_cpus, node.description.memory_bytes
    for task in sorted(filter(_is_bound, tasks), key=age):
        yield
        asked = reservations(task)
        if asked.nano_cpus > cpus or asked.memory_bytes > memory or not fits(task.spec, node):
            actions.append(RejectTask(task.id, node, now))
        else:
            cpus, memory = cpus - asked.nano_cpus, memory - asked.memory_bytes
    return actions


def _is_bound(task: Task) -> bool:
    return holds_resources(task) and is_active(task)


@attrs.define(eq=False)
class ConstraintEnforcer:
    """Looks at every node once, then at those that change. Runs on the leader."""

    _store: Tables
    _writes: Writes
    _wall: WallClock

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        clock = SteadyClock.start(self._wall)
        with self._store.watch(Node) as watch:
            node_ids = {node.id: None for node in self._store.find(Node)}
            while True:
                await write_actions(self._writes, await run_sliced(self._plan(node_ids, clock.now_ns())))
                node_ids = await run_sliced(_changed(await watch.next()))

    def _plan(self, node_ids: Iterable[str], now: int) -> Slices[list[RejectTask]]:
        actions: list[RejectTask] = []
        for node_id in node_ids:
            yield
            node = self._store.get(Node, node_id)
            if node is not None:
                actions += yield from plan_rejections(node, self._store.tasks_of_node(node_id), now=now)
        return actions


def _changed(changes: Iterable[Change]) -> Slices[dict[str, None]]:
    """The nodes of which something has changed that tasks may depend on."""
    node_ids: dict[str, None] = {}
    for change in changes:
        yield
        before, after = change.before, change.after
        if isinstance(before, Node) and isinstance(after, Node) and suitability(before) != suitability(after):
            node_ids[after.id] = None
    return node_ids
