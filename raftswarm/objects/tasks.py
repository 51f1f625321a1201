"""What several loops ask about tasks: how one begins, whether it lives, whether it still is what its service wants."""

from __future__ import annotations

from msgspec import structs

from raftswarm.objects.constraints import node_matches, parse_constraints
from raftswarm.objects.records import Endpoint, Node, Service, Task, TaskStatus
from raftswarm.objects.specs import EndpointSpec, Placement, Reservations, Resources, TaskSpec
from raftswarm.objects.states import NodeState, TaskState


def new_task(
    service: Service,
    *,
    task_id: str,
    now: int,
    slot: int = 0,
    node_id: str = "",
    desired_state: TaskState = TaskState.RUNNING,
) -> Task:
    """Make a task from the service's template, for a slot or, of a global service, for a node."""
    return Task(
        id=task_id,
        spec=service.spec.task_template,
        spec_version=service.spec_version,
        service_id=service.id,
        service_name=service.spec.name,
        service_labels=service.spec.labels,
        slot=slot,
        node_id=node_id,
        desired_state=desired_state,
        status=TaskStatus(state=TaskState.NEW, timestamp=now, message="created"),
        endpoint=Endpoint(spec=endpoint_spec(service)),
        job_iteration=service.job_status.iteration if service.job_status is not None else None,
    )


def endpoint_spec(service: Service) -> EndpointSpec:
    """How the user wants the service to be reached."""
    return service.spec.endpoint_spec or EndpointSpec()


def age(task: Task) -> tuple[int, int, str]:
    """Sorts the tasks of a slot from the oldest to the newest; of two made at one time, the older is wanted less."""
    return task.created_at, -task.desired_state, task.id


def is_wanted(task: Task) -> bool:
    """Tell whether managers want it to run, now or after a delay, for ever or to its end."""
    return task.desired_state <= TaskState.COMPLETE


def is_active(task: Task) -> bool:
    """Tell whether it counts when tasks are spread over nodes (SWARM 5.3)."""
    return is_wanted(task) and not task.status.state.is_terminal


def is_job_done(task: Task) -> bool:
    """Tell whether it is a run of a job that has come to its end as it should."""
    return task.job_iteration is not None and task.status.state is TaskState.COMPLETE


def belongs_to_run(task: Task, service: Service) -> bool:
    """Tell whether a job's task is of the current run."""
    return service.job_status is not None and task.job_iteration == service.job_status.iteration


def holds_resources(task: Task) -> bool:
    """Tell whether what it reserves is in use: from its assignment until it is seen to have ended (SWARM 5.5)."""
    return bool(task.node_id) and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def reservations(task: Task) -> Reservations:
    """What a node must have free for the task."""
    return (task.spec.resources or Resources()).reservations or Reservations()


def suitability(node: Node) -> tuple[object, ...]:
    """What of a node decides which tasks it may take and keep."""
    return node.state, node.spec, node.description, node.role, node.address


def may_run(task: Task, node: Node | None) -> bool:
    """Tell whether a process of this task may exist, as far as managers can know (SWARM 4.5, 6)."""
    return holds_resources(task) and node is not None and node.state is not NodeState.DOWN


def can_host(node: Node | None) -> bool:
    """Tell whether tasks may stay on a node: it is there, not down and not drained."""
    return node is not None and node.state is not NodeState.DOWN and node.spec.availability != "drain"


def is_dirty(task: Task, service: Service, node: Node | None) -> bool:
    """Tell whether a task has to be replaced because its service's spec has changed (SWARM 2.3)."""
    if task.spec_version == service.spec_version:
        return False
    if service.job_status is not None:
        return not belongs_to_run(task, service)
    wanted = service.spec.task_template
    if task.endpoint is not None and task.endpoint.spec != endpoint_spec(service):
        return True
    if task.spec == wanted:
        return False
    return not (node is not None and differs_in_placement_only(task.spec, wanted) and fits(wanted, node))


def differs_in_placement_only(spec: TaskSpec, wanted: TaskSpec) -> bool:
    """Tell whether two templates are equal but for where their tasks may go."""
    return structs.replace(spec, placement=wanted.placement) == wanted


def fits(spec: TaskSpec, node: Node) -> bool:
    """Tell whether the node fulfils the template's constraints."""
    placement = spec.placement or Placement()
    return node_matches(parse_constraints(placement.constraints or ()), node)
