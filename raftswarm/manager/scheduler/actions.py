"""What the scheduler writes: a node, a reason, or an end; only ever for tasks that are PENDING."""

from __future__ import annotations

import attrs
from msgspec import structs

from raftswarm.objects.records import Node, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import suitability
from raftswarm.store.contracts import Transaction


@attrs.frozen
class AssignTask:
    """Give a task its node."""

    task_id: str
    node: Node
    """As it was when that was decided."""
    now: int

    @property
    def node_id(self) -> str:
        """The node's."""
        return self.node.id

    def write(self, transaction: Transaction) -> None:
        """Write it, unless nobody wants the task or the node has changed since: the next pass decides anew."""
        task = _pending(transaction, self.task_id)
        node = transaction.get(Node, self.node_id)
        if task is None or node is None or task.node_id not in {"", self.node_id}:
            return
        if task.desired_state >= TaskState.SHUTDOWN or suitability(node) != suitability(self.node):
            return
        confirmed = "scheduler confirmed task can run on preassigned node"
        status = structs.replace(
            task.status,
            state=TaskState.ASSIGNED,
            timestamp=self.now,
            message=confirmed if task.node_id else "scheduler assigned task to node",
            error="",
        )
        transaction.update(structs.replace(task, node_id=self.node_id, status=status))


@attrs.frozen
class ExplainTask:
    """Tell users why a task still waits."""

    task_id: str
    error: str
    now: int

    def write(self, transaction: Transaction) -> None:
        """Write it."""
        task = _pending(transaction, self.task_id)
        if task is not None:
            status = structs.replace(task.status, timestamp=self.now, error=self.error)
            transaction.update(structs.replace(task, status=status))


@attrs.frozen
class EndTask:
    """Nobody wants the task any more, and it never had a place: it has ended (5.6)."""

    task_id: str
    now: int

    def write(self, transaction: Transaction) -> None:
        """Write it."""
        task = _pending(transaction, self.task_id)
        if task is not None and task.desired_state >= TaskState.SHUTDOWN:
            status = structs.replace(task.status, state=TaskState.SHUTDOWN, timestamp=self.now, error="")
            transaction.update(structs.replace(task, status=status))


AnyAction = AssignTask | ExplainTask | EndTask


def _pending(transaction: Transaction, task_id: str) -> Task | None:
    task = transaction.get(Task, task_id)
    return task if task is not None and task.status.state is TaskState.PENDING else None
