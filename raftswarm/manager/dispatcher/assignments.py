"""What an agent should run: first all of it, then what changed (SWARM 7.5). Plain data; the stream is next door."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.store.store import Reader
from raftswarm.wire.requests import Assignments, Route

MAX_CHANGES: Final = 100


class NodeAssignments:
    """What one agent has been sent, and which of its tasks have changed since."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._sent: dict[str, Task] | None = None
        """None before the first message."""
        self._routes: tuple[Route, ...] | None = None
        self._changed: dict[str, None] = {}

    def note(self, task_id: str) -> None:
        """A task of this node has changed."""
        self._changed[task_id] = None

    def start_over(self) -> None:
        """Changes were missed: all is sent again."""
        self._sent = None

    def next_message(self, reader: Reader, routes: tuple[Route, ...]) -> Assignments | None:
        """What to send now, at most 100 changes of tasks; None if the agent has all."""
        if self._sent is None:
            return self._complete(reader, routes)
        tasks: list[Task] = []
        removed: list[str] = []
        while self._changed and len(tasks) + len(removed) < MAX_CHANGES:
            task_id = next(iter(self._changed))
            del self._changed[task_id]
            task = reader.get(Task, task_id)
            sent = self._sent.get(task_id)
            if task is None or not self._is_ours(task):
                if sent is not None:
                    removed.append(task_id)
                    del self._sent[task_id]
            elif sent is None or matters(sent, task):
                tasks.append(task)
                self._sent[task_id] = task
        new_routes = routes if routes != self._routes else None
        if not (tasks or removed or new_routes is not None):
            return None
        self._routes = routes
        return Assignments(complete=False, tasks=tuple(tasks), removed=tuple(removed), routes=new_routes)

    def _complete(self, reader: Reader, routes: tuple[Route, ...]) -> Assignments:
        self._sent = {task.id: task for task in reader.tasks_of_node(self._node_id) if self._is_ours(task)}
        self._changed.clear()
        self._routes = routes
        return Assignments(complete=True, tasks=tuple(self._sent.values()), routes=routes)

    def _is_ours(self, task: Task) -> bool:
        return task.node_id == self._node_id and task.status.state >= TaskState.ASSIGNED


def matters(sent: Task, task: Task) -> bool:
    """Tell whether the agent must hear of a change: its own reports come back as changes too."""
    if task.status.state <= TaskState.ASSIGNED:
        return sent != task
    return replace(task, status=sent.status, version=sent.version, updated_at=sent.updated_at) != sent
