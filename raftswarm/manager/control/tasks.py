"""Tasks, shown. Nobody changes them but the loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from raftswarm.world.slices import Slices

FILTER_KEYS: Final = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")


@attrs.frozen
class TaskRequests:
    """Answers requests about tasks."""

    _store: Store

    def get(self, request: GetTask) -> TaskAnswer:
        """Show one."""
        return TaskAnswer(task=look_up(self._store, Task, request.reference))

    def list_all(self, request: ListTasks) -> Slices[TasksAnswer]:
        """Show those that match."""
        filters = request.filters
        check_keys(filters, FILTER_KEYS)
        check_values(filters, "desired-state", tuple(state.docker_word for state in TaskState))
        service_ids = [look_up(self._store, Service, reference).id for reference in filters.get("service", ())]
        node_ids = [look_up(self._store, Node, reference).id for reference in filters.get("node", ())]
        currency = _Currency.of(self._store) if "_up-to-date" in filters else None
        found: list[Task] = []
        for task in self._candidates(service_ids, node_ids):
            yield
            if (
                (not service_ids or task.service_id in service_ids)
                and (not node_ids or task.node_id in node_ids)
                and _matches(task, filters)
                and (currency is None or currency.is_up_to_date(task))
            ):
                found.append(task)
        return TasksAnswer(tasks=tuple(found))

    def _candidates(self, services: list[str], nodes: list[str]) -> Iterable[Task]:
        if len(services) == 1:
            return self._store.tasks_of_service(services[0])
        if len(nodes) == 1:
            return self._store.tasks_of_node(nodes[0])
        return self._store.find(Task)


def _matches(task: Task, filters: Filters) -> bool:
    return (
        begins_with_any(filters, "id", task.id)
        and begins_with_any(filters, "name", task.name)
        and has_labels(filters, "label", task.service_labels)
        and equals_any(filters, "desired-state", task.desired_state.docker_word)
        and equals_any(filters, "runtime", task.spec.runtime or "container")
    )


@attrs.frozen
class _Currency:
    """What tasks are compared with, as it was when the list was asked for."""

    _services: Mapping[str, Service]
    _nodes: Mapping[str, Node]

    @classmethod
    def of(cls, store: Store) -> _Currency:
        return cls(
            {service.id: service for service in store.find(Service)}, {node.id: node for node in store.find(Node)}
        )

    def is_up_to_date(self, task: Task) -> bool:
        """By content, not by version: a scaled service keeps its tasks, and `service scale` waits for them."""
        service = self._services.get(task.service_id)
        return service is not None and not is_dirty(task, service, self._nodes.get(task.node_id))
