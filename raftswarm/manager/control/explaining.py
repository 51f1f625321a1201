"""Why a task, or a service, is not as it should be: what the records say, in sentences, and what the scheduler sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from raftswarm.manager.control.references import look_up
from raftswarm.manager.control.requests import (
    ExplainService,
    ExplainTask,
    ServiceExplained,
    TaskExplained,
)
from raftswarm.manager.control.service_specs import mode_name
from raftswarm.objects.explanations import NodeExplanation, ServiceExplanation, TaskExplanation
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import is_job_done, is_wanted
from raftswarm.store.contracts import Reader
from raftswarm.store.store import Store
from raftswarm.world.slices import Slices

ExplainPlacement = Callable[[Reader, list[Task]], Slices[list[list[NodeExplanation]]]]
"""What the scheduler says: for each task, what keeps it from each node."""

_ON_ITS_WAY: Final = {
    TaskState.ASSIGNED: "its node has yet to take it",
    TaskState.ACCEPTED: "its node has taken it",
    TaskState.PREPARING: "its node prepares it",
    TaskState.READY: "its node has prepared it",
    TaskState.STARTING: "its node starts it",
}


@attrs.frozen
class Explanations:
    """Answers why."""

    _store: Store
    _explain_placement: ExplainPlacement

    def task(self, request: ExplainTask) -> Slices[TaskExplained]:
        """Explain one task."""
        task = look_up(self._store, Task, request.reference)
        [explanation] = yield from self._explain([task])
        return TaskExplained(explanation=explanation)

    def service(self, request: ExplainService) -> Slices[ServiceExplained]:
        """Explain a service by its tasks."""
        service = look_up(self._store, Service, request.reference)
        wanted = [task for task in self._store.tasks_of_service(service.id) if is_wanted(task)]
        wanted.sort(key=lambda task: (task.slot, task.node_id, task.created_at, task.id))
        explanations = yield from self._explain(wanted)
        return ServiceExplained(
            explanation=ServiceExplanation(
                service_id=service.id,
                name=service.spec.name,
                summary=describe_service(service, wanted),
                tasks=explanations,
            )
        )

    def _explain(self, tasks: Sequence[Task]) -> Slices[list[TaskExplanation]]:
        waiting = [task for task in tasks if task.status.state is TaskState.PENDING and is_wanted(task)]
        placements = yield from self._explain_placement(self._store, waiting)
        nodes = {task.id: placement for task, placement in zip(waiting, placements, strict=True)}
        return [
            TaskExplanation(
                task_id=task.id,
                name=f"{task.service_name}.{task.shown_slot or task.node_id}",
                state=task.status.state.docker_word,
                desired_state=task.desired_state.docker_word,
                summary=describe_task(task, self._store.get(Node, task.node_id)),
                nodes=nodes.get(task.id, []),
            )
            for task in tasks
        ]


def describe_service(service: Service, wanted: Sequence[Task]) -> str:
    """Say in a sentence how a service stands."""
    running = sum(task.status.state is TaskState.RUNNING for task in wanted)
    done = sum(is_job_done(task) for task in wanted)
    parts = [f"{mode_name(service.spec.mode)}: {running} of {len(wanted)} tasks run"]
    if service.job_status is not None:
        parts = [f"{mode_name(service.spec.mode)}: {done} of {len(wanted)} tasks are complete, {running} run"]
    if not wanted:
        parts = [f"{mode_name(service.spec.mode)}: no task is wanted"]
    status = service.update_status
    if status is not None:
        parts.append(
            f"update {status.state.value.replace('_', ' ')}" + (f": {status.message}" if status.message else "")
        )
    return "; ".join(parts)


def describe_task(task: Task, node: Node | None) -> str:
    """Say in a sentence why a task is where it is."""
    if task.status.state.is_terminal:
        return _describe_end(task)
    if not is_wanted(task):
        return f"it is to end ({task.desired_state.docker_word}), and is {task.status.state.docker_word}"
    return _describe_way(task, node)


def _describe_end(task: Task) -> str:
    if is_job_done(task):
        return "it is complete"
    status = task.status
    reason = status.error or status.message
    after = "" if is_wanted(task) else f"; {_what_follows(task)}"
    return f"it ended as {status.state.docker_word}" + (f": {reason}" if reason else "") + after


def _describe_way(task: Task, node: Node | None) -> str:
    status = task.status
    if status.state is TaskState.NEW:
        return "it waits for its ports" + (f": {status.error}" if status.error else "")
    if status.state is TaskState.PENDING:
        return status.error or "it waits for the scheduler"
    if node is not None and node.state is not NodeState.READY:
        return f"its node is {node.state.value}"
    if status.state is TaskState.RUNNING:
        return "it runs"
    if task.desired_state is TaskState.READY:
        return "it waits until its restart delay is over and the task before it has stopped"
    return _ON_ITS_WAY[status.state] + (f": {status.error}" if status.error else "")


def _what_follows(task: Task) -> str:
    rule = restart_rule(task.spec)
    limit = f", at most {rule.max_attempts} times" if rule.max_attempts else ""
    return f"restart condition {rule.condition}{limit}"
