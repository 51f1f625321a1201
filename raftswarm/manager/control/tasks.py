"""Tasks, shown. Nobody changes them but the loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from raftswarm.manager.control.filters import (
    begins_with_any,
    check_keys,
    check_values,
    equals_any,
    has_labels,
)
from raftswarm.manager.control.references import look_up
from raftswarm.manager.control.requests import Filters, GetTask, ListTasks, TaskAnswer, TasksAnswer
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import is_dirty
from raftswarm.store.store import Store

FILTER_KEYS: Final = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")


@attrs.frozen
class TaskRequests:
    """Answers requests about tasks."""

    _store: Store

    def get(self, request: GetTask) -> TaskAnswer:
        """Show one."""
        return TaskAnswer(task=look_up(self._store, Task, request.reference))

    def list_all(self, request: ListTasks) -> TasksAnswer:
        """Show those that match."""
        filters = request.filters
        check_keys(filters, FILTER_KEYS)
        check_values(filters, "desired-state", tuple(state.docker_word for state in TaskState))
        services = [look_up(self._store, Service, reference).id for reference in filters.get("service", ())]
        nodes = [look_up(self._store, Node, reference).id for reference in filters.get("node", ())]
        found = (
            task
            for task in self._candidates(services, nodes)
            if (not services or task.service_id in services) and (not nodes or task.node_id in nodes)
        )
        return TasksAnswer(tasks=tuple(task for task in found if self._matches(task, filters)))

    def _candidates(self, services: list[str], nodes: list[str]) -> Iterable[Task]:
        if len(services) == 1:
            return self._store.tasks_of_service(services[0])
        if len(nodes) == 1:
            return self._store.tasks_of_node(nodes[0])
        return self._store.find(Task)

    def _matches(self, task: Task, filters: Filters) -> bool:
        return (
            begins_with_any(filters, "id", task.id)
            and begins_with_any(filters, "name", task.name)
            and has_labels(filters, "label", task.service_labels)
            and equals_any(filters, "desired-state", task.desired_state.docker_word)
            and equals_any(filters, "runtime", task.spec.runtime or "container")
            and ("_up-to-date" not in filters or self._is_up_to_date(task))
        )

    def _is_up_to_date(self, task: Task) -> bool:
        """By content, not by version: a scaled service keeps its tasks, and `service scale` waits for them."""
        service = self._store.get(Service, task.service_id)
        return service is not None and not is_dirty(task, service, self._store.get(Node, task.node_id))
