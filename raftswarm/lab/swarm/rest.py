"""What a swarm is like when it has come to rest, and what still keeps it from that, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from raftswarm.objects.constraints import node_matches, parse_constraints
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.store.contracts import Reader

_UNDER_WAY = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
_PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
"""It stands still until the user does something: tasks of both specs stay."""


def find_unrest(tables: Reader, running: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Say what is not as users want it, or not as the tables say.

    Args:
        tables: of a manager that has applied everything.
        running: by node id, the tasks whose processes run there. What is not in it is unreachable.
    """
    for node in tables.find(Node):
        if node.id in running and node.state is not NodeState.READY:
            yield f"node {node.description.hostname} runs and is {node.state.value}"
    for service in tables.find(Service):
        yield from find_service_unrest(service, tables)
    yield from _find_strays(tables, running)


def find_service_unrest(service: Service, tables: Reader) -> Iterator[str]:
    """Say what is not as the service's user wants it."""
    name = service.spec.name
    if service.update_status is not None and service.update_status.state in _UNDER_WAY:
        yield f"service {name}: its update is {service.update_status.state.value}"
    wanted = [task for task in tables.tasks_of_service(service.id) if task.desired_state <= TaskState.RUNNING]
    mode = service.spec.mode
    if mode.replicated is not None:
        replicas = mode.replicated.replicas
        yield from _find_slot_unrest(name, wanted, 1 if replicas is None else replicas)
    for task in wanted:
        yield from _find_task_unrest(service, task, tables)


def _find_slot_unrest(name: str, wanted: Sequence[Task], replicas: int) -> Iterator[str]:
    if len(wanted) != replicas:
        yield f"service {name}: {len(wanted)} tasks are wanted in place of {replicas}"
    for slot, count in Counter(task.slot for task in wanted).items():
        if count > 1:
            yield f"service {name}: {count} tasks are wanted in slot {slot}"


def _find_task_unrest(service: Service, task: Task, tables: Reader) -> Iterator[str]:
    if task.status.state is not TaskState.RUNNING:
        yield f"task {task.name} is {task.status.state.docker_word}: {task.status.error or task.status.message}"
    elif task.spec != service.spec.task_template and not _is_paused(service):
        yield f"task {task.name} is of an older spec"
    node = tables.get(Node, task.node_id)
    if node is None:
        yield f"task {task.name} is on no node"
        return
    placement = service.spec.task_template.placement
    constraints = parse_constraints(placement.constraints or ()) if placement is not None else ()
    if node.spec.availability == "drain" or not node_matches(constraints, node):
        yield f"task {task.name} must not be on {node.description.hostname}"


def _is_paused(service: Service) -> bool:
    return service.update_status is not None and service.update_status.state in _PAUSED


def _find_strays(tables: Reader, running: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Compare what the tables say with what really runs."""
    for node_id, task_ids in running.items():
        told = {task.id for task in tables.tasks_of_node(node_id) if task.status.state is TaskState.RUNNING}
        for task_id in sorted(task_ids - told):
            yield f"task {task_id} runs on {_name(tables, node_id)}, and nobody is told so"
        for task_id in sorted(told - task_ids):
            yield f"task {task_id} is told to run on {_name(tables, node_id)}, and does not"


def _name(tables: Reader, node_id: str) -> str:
    node = tables.get(Node, node_id)
    return node.description.hostname if node is not None else node_id
