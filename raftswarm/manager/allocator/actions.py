"""What the allocator writes: endpoints of services, and tasks that may be scheduled. Only its own fields."""

from __future__ import annotations

import attrs
from msgspec import structs

from raftswarm.manager.allocator.ports import is_allocated
from raftswarm.objects.records import Endpoint, Service, Task
from raftswarm.objects.specs import EndpointSpec
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import endpoint_spec
from raftswarm.store.contracts import Transaction


@attrs.frozen
class PublishService:
    """Give a service its ports, or take them back (None)."""

    service_id: str
    wanted: EndpointSpec
    endpoint: Endpoint | None

    def write(self, transaction: Transaction) -> None:
        """Write it, unless the user wants other ports by now."""
        service = transaction.get(Service, self.service_id)
        if service is not None and endpoint_spec(service) == self.wanted:
            transaction.update(structs.replace(service, endpoint=self.endpoint))


@attrs.frozen
class QueueTask:
    """The task has all it needs but a node."""

    task_id: str
    now: int

    def write(self, transaction: Transaction) -> None:
        """Write it, with the ports its service has."""
        task = transaction.get(Task, self.task_id)
        if task is None or task.status.state is not TaskState.NEW:
            return
        service = transaction.get(Service, task.service_id) if task.service_id else None
        if service is not None and not is_allocated(service):
            return  # The user wants other ports by now.
        endpoint = service.endpoint if service is not None else None
        status = structs.replace(
            task.status, state=TaskState.PENDING, timestamp=self.now, message="pending task scheduling"
        )
        transaction.update(structs.replace(task, endpoint=endpoint or task.endpoint, status=status))


AnyAction = PublishService | QueueTask
