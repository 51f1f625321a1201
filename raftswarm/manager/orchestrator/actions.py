"""What the orchestrator writes. Each action is atomic and only does what still holds when it is written."""

from __future__ import annotations

import attrs
from msgspec import structs

from raftswarm.objects.records import Node, Service, Task, UpdateStatus
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import belongs_to_run, is_job_done, may_run
from raftswarm.store.contracts import Transaction


@attrs.frozen
class ChangeSlot:
    """Raise desired states and add tasks in one slot, all or nothing: no crash leaves a slot forgotten."""

    service_id: str
    spec_version: int
    raised: tuple[tuple[str, TaskState], ...] = ()
    created: tuple[Task, ...] = ()

    def write(self, transaction: Transaction) -> None:
        """Write it, unless the spec or run it was planned for is not the current one; what is gone gets no task."""
        service = _planned_for(transaction, self.service_id, self.spec_version)
        if service is None or not self._still_holds(transaction, service):
            return
        for task_id, state in self.raised:
            raise_desired_state(transaction, task_id, state)
        waits = any(_may_run(transaction, task_id) for task_id, state in self.raised if state > TaskState.RUNNING)
        for task in self.created:
            if not task.node_id or transaction.get(Node, task.node_id) is not None:
                # Who had no node when the plan was made may have been given one since, and is waited for after all.
                transaction.create(structs.replace(task, desired_state=TaskState.READY) if waits else task)

    def _still_holds(self, transaction: Transaction, service: Service) -> bool:
        """Tell whether a job is in the run it was planned for, and nothing is done that it would do again."""
        if service.job_status is None:
            return True
        tasks = [transaction.get(Task, task_id) for task_id, _ in self.raised]
        is_done = any(task is not None and is_job_done(task) and belongs_to_run(task, service) for task in tasks)
        return not is_done and all(belongs_to_run(task, service) for task in self.created)


@attrs.frozen
class RemoveTask:
    """Nobody wants this task any more: its service is gone."""

    task_id: str

    def write(self, transaction: Transaction) -> None:
        """Write it."""
        raise_desired_state(transaction, self.task_id, TaskState.REMOVE)


@attrs.frozen
class ReportUpdate:
    """Tell users where an update stands."""

    service_id: str
    spec_version: int
    status: UpdateStatus

    def write(self, transaction: Transaction) -> None:
        """Write it, unless the user has changed the spec."""
        service = _planned_for(transaction, self.service_id, self.spec_version)
        if service is not None:
            transaction.update(structs.replace(service, update_status=self.status))


@attrs.frozen
class RollBack:
    """Return to the previous spec, once: there is no way further back, and none forward (SWARM 1.5)."""

    service_id: str
    spec_version: int
    status: UpdateStatus

    def write(self, transaction: Transaction) -> None:
        """Write it, unless the user has changed the spec."""
        service = _planned_for(transaction, self.service_id, self.spec_version)
        if service is None or service.previous_spec is None:
            return
        transaction.update(
            structs.replace(
                service,
                spec=service.previous_spec,
                spec_version=service.previous_spec_version,
                previous_spec=None,
                previous_spec_version=0,
                update_status=self.status,
            )
        )


@attrs.frozen
class DeleteTask:
    """Forget a task that has come to its end."""

    task_id: str

    def write(self, transaction: Transaction) -> None:
        """Write it."""
        transaction.delete(Task, self.task_id)


AnyAction = ChangeSlot | RemoveTask | ReportUpdate | RollBack | DeleteTask


def raise_desired_state(transaction: Transaction, task_id: str, state: TaskState) -> None:
    """Write a desired state, which never goes down."""
    task = transaction.get(Task, task_id)
    if task is not None and task.desired_state < state:
        transaction.update(structs.replace(task, desired_state=state))


def _may_run(transaction: Transaction, task_id: str) -> bool:
    task = transaction.get(Task, task_id)
    return task is not None and may_run(task, transaction.get(Node, task.node_id))


def _planned_for(transaction: Transaction, service_id: str, spec_version: int) -> Service | None:
    service = transaction.get(Service, service_id)
    return service if service is not None and service.spec_version == spec_version else None
