"""Services: created, changed, rolled back, removed, shown (SWARM 1.5, 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.filters import begins_with_any, check_keys, equals_any, has_labels
from raftswarm.manager.control.references import look_up
from raftswarm.manager.control.refusals import gone, invalid, not_now, out_of_sequence, unimplemented
from raftswarm.manager.control.requests import (
    Accepted,
    CreatedAnswer,
    CreateService,
    GetService,
    ListServices,
    RemoveService,
    ServiceAnswer,
    ServicesAnswer,
    ServiceTaskCounts,
    ServiceView,
    UpdateService,
)
from raftswarm.manager.control.service_specs import accept_service_spec, mode_name
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id
from raftswarm.objects.records import JobStatus, Node, Service, Task, UpdateStatus
from raftswarm.objects.specs import PortConfig, ServiceSpec, is_job
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.tasks import belongs_to_run, is_job_done
from raftswarm.store.store import Store, Transaction, Writes
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices

FILTER_KEYS: Final = ("id", "label", "mode", "name", "runtime")


@attrs.frozen
class ServiceRequests:
    """Answers requests about services."""

    _store: Store
    _writes: Writes
    _entropy: Entropy
    _wall_clock: WallClock

    async def create(self, request: CreateService) -> CreatedAnswer:
        """Check and store a new service; the loops do the rest."""
        spec = accept_service_spec(request.spec)
        service = Service(
            id=make_id(self._entropy.token_bytes(ID_RANDOM_BYTES)),
            spec=spec,
            job_status=JobStatus(last_execution=self._wall_clock.now_ns()) if is_job(spec.mode) else None,
        )

        def build(transaction: Transaction) -> None:
            if transaction.by_name(Service, spec.name) is not None:
                message = f"name conflicts with an existing object: service {spec.name} already exists"
                raise RequestRefused(message, code="AlreadyExists")
            _check_ports(transaction, service)
            transaction.create(service)

        await self._writes.write(build)
        return CreatedAnswer(id=service.id)

    async def update(self, request: UpdateService) -> Accepted:
        """Replace the spec and keep the one before it, or swap the two."""
        service_id = look_up(self._store, Service, request.reference).id
        spec = None if request.rollback else accept_service_spec(request.spec)
        now = self._wall_clock.now_ns()

        def build(transaction: Transaction) -> None:
            service = transaction.get(Service, service_id)
            if service is None:
                raise gone("service", service_id)
            changed = _rolled_back(service, now) if spec is None else _with_spec(service, spec)
            changed = _with_next_run(changed, now)
            if service.version != request.version:
                raise out_of_sequence()
            if changed.spec.endpoint_spec != service.spec.endpoint_spec:
                _check_ports(transaction, changed)
            transaction.update(changed)

        await self._writes.write(build)
        return Accepted()

    async def remove(self, request: RemoveService) -> Accepted:
        """Remove the service; the orchestrator sees to its tasks."""
        service_id = look_up(self._store, Service, request.reference).id
        await self._writes.write(lambda transaction: transaction.delete(Service, service_id))
        return Accepted()

    def get(self, request: GetService) -> ServiceAnswer:
        """Show one."""
        return ServiceAnswer(view=ServiceView(service=look_up(self._store, Service, request.reference)))

    def list_all(self, request: ListServices) -> Slices[ServicesAnswer]:
        """Show those that match."""
        check_keys(request.filters, FILTER_KEYS)
        down = {node.id: node.state is NodeState.DOWN for node in self._store.find(Node)}
        found = [
            (service, self._store.tasks_of_service(service.id) if request.with_counts else None)
            for service in self._store.find(Service)
            if _matches(service, request)
        ]
        views: list[ServiceView] = []
        for service, tasks in found:
            yield
            counts = (yield from _count(service, tasks, down)) if tasks is not None else None
            views.append(ServiceView(service=service, counts=counts))
        return ServicesAnswer(services=tuple(views))


def _count(service: Service, tasks: Iterable[Task], down: Mapping[str, bool]) -> Slices[ServiceTaskCounts]:
    """How many tasks run and how many should. What a node that is down was running does not count."""
    running = desired = completed = 0
    for task in tasks:
        yield
        running += task.status.state is TaskState.RUNNING and not down.get(task.node_id, True)
        desired += task.desired_state is TaskState.RUNNING
        completed += is_job_done(task) and belongs_to_run(task, service)
    mode = service.spec.mode
    if mode.replicated is not None:
        desired = mode.replicated.replicas if mode.replicated.replicas is not None else 1
    if mode.replicated_job is not None:
        desired = mode.replicated_job.max_concurrent or 0
    return ServiceTaskCounts(running=running, desired=desired, completed=completed)


def _matches(service: Service, request: ListServices) -> bool:
    return (
        begins_with_any(request.filters, "id", service.id)
        and begins_with_any(request.filters, "name", service.spec.name)
        and has_labels(request.filters, "label", service.spec.labels)
        and equals_any(request.filters, "mode", mode_name(service.spec.mode))
        and equals_any(request.filters, "runtime", service.spec.task_template.runtime or "container")
    )


def _with_spec(service: Service, spec: ServiceSpec) -> Service:
    if mode_name(spec.mode) != mode_name(service.spec.mode):
        raise unimplemented("service mode change is not allowed")
    if spec.name != service.spec.name:
        raise unimplemented("renaming services is not supported")
    return replace(
        service,
        spec=spec,
        spec_version=service.version,
        previous_spec=service.spec,
        previous_spec_version=service.spec_version,
        update_status=None,
    )


def _with_next_run(service: Service, now: int) -> Service:
    """Begin a job anew: every change does, even of a label (SWARM 1.5)."""
    if service.job_status is None:
        return service
    job_status = JobStatus(iteration=service.job_status.iteration + 1, last_execution=now)
    return replace(service, job_status=job_status, update_status=None)


def _rolled_back(service: Service, now: int) -> Service:
    if service.previous_spec is None:
        raise not_now(f"service {service.id} does not have a previous spec")
    return replace(
        service,
        spec=service.previous_spec,
        spec_version=service.previous_spec_version,
        previous_spec=service.spec,
        previous_spec_version=service.spec_version,
        update_status=UpdateStatus(
            state=UpdateState.ROLLBACK_STARTED, message="manually requested rollback", started_at=now
        ),
    )


def _check_ports(transaction: Transaction, service: Service) -> None:
    wanted = {_place(port): port.publish_mode for port in _published(service.spec)}
    if not wanted:
        return
    transaction.expect_unchanged(Service)  # Or another service could take the port while this one travels.
    for other in transaction.find(Service):
        if other.id == service.id:
            continue
        taken = [*_published(other.spec), *(other.endpoint.ports if other.endpoint is not None else ())]
        for port in taken:
            mode = wanted.get(_place(port))
            if mode is None or (mode == "host" and port.publish_mode == "host"):
                continue  # Where two host-mode services would meet, the scheduler keeps them apart.
            how = "a host-published port" if port.publish_mode == "host" else "an ingress port"
            raise invalid(
                f"port '{port.published_port}' is already in use by service '{other.spec.name}' ({other.id}) as {how}"
            )


def _published(spec: ServiceSpec) -> Iterable[PortConfig]:
    ports = spec.endpoint_spec.ports if spec.endpoint_spec is not None else None
    return [port for port in ports or () if port.published_port]


def _place(port: PortConfig) -> tuple[str, int]:
    return port.protocol, port.published_port
