"""Rules 7 to 13, of a task's life: what it is for good, who may move it where, how it begins and when it is forgotten.

A command is one loop's, so the fields that it changes tell which loop wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftswarm.lab.swarm_rules.picture import Rule, Step, hosts, is_completion, is_global, run_of, slot_of, tell
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Service, Task
from raftswarm.objects.specs import is_job
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import endpoint_spec, fits, is_wanted

_FIELDS: Final = tuple(sorted(set(Task.__struct_fields__) - {"version", "updated_at", "created_at"}))
_IDENTITY: Final = ("spec", "spec_version", "service_id", "service_name", "service_labels", "slot", "job_iteration")
_ENDS: Final = (TaskState.SHUTDOWN, TaskState.REMOVE)


def tasks_stay_what_they_are(step: Step) -> Iterator[str]:
    """Spec, service, slot and run are for good, and so is the node once there is one (SWARM 1.1, 2.2)."""
    for before, after in step.changed(Task):
        for field in _IDENTITY:
            if getattr(before, field) != getattr(after, field):
                yield f"{tell(after)} had another {field}: {getattr(before, field)!r}, now {getattr(after, field)!r}"
        if before.node_id and before.node_id != after.node_id:
            yield f"{tell(after)} was on node {before.node_id}"


def observed_states_rise_as_their_writers_may(step: Step) -> Iterator[str]:
    """The table of who may move a task where; an observed state never falls, and an end is the end (SWARM 2.1)."""
    for before, after in step.changed(Task):
        if before.status != after.status and not _may_move(before, after):
            yield f"{tell(after)} came from {before.status.state.name}: nobody may move it so"


def _may_move(before: Task, after: Task) -> bool:
    match before.status.state, after.status.state:
        case ((TaskState.NEW | TaskState.PENDING), TaskState.PENDING):
            return True  # The allocator; or the scheduler, who explains.
        case TaskState.PENDING, TaskState.ASSIGNED:
            return bool(after.node_id)  # The scheduler.
        case TaskState.PENDING, TaskState.SHUTDOWN:
            return after.desired_state >= TaskState.SHUTDOWN  # The scheduler, of what nobody wants any more.
        case state, TaskState.ORPHANED:
            return not state.is_terminal and bool(after.node_id)  # Dispatcher and control API, for a lost node.
        case state, reported if state.is_terminal:
            return reported is state  # An agent that says the same again, perhaps in other words.
        case state, reported:
            # Agents, and who rejects in their place.
            return TaskState.ASSIGNED <= state <= reported and reported is not TaskState.REMOVE


def desired_states_rise(step: Step) -> Iterator[str]:
    """Managers want READY, RUNNING or, of a job, COMPLETE, SHUTDOWN, REMOVE: in this order, never back (SWARM 2.1)."""
    for before, after in step.changed(Task):
        if after.desired_state < before.desired_state:
            yield f"{tell(after)} was desired {before.desired_state.name}"
        elif after.desired_state not in (*_beginnings(is_of_job=after.job_iteration is not None), *_ENDS):
            yield f"{tell(after)} is in a state that nobody may desire"


def _beginnings(*, is_of_job: bool) -> tuple[TaskState, TaskState]:
    """What may be desired of a task that is wanted: to wait, and then to run for ever, or to its end."""
    return TaskState.READY, TaskState.COMPLETE if is_of_job else TaskState.RUNNING


def one_loop_writes_one_field(step: Step) -> Iterator[str]:
    """Desired: orchestrator. Status: agents; with the endpoint: allocator; with the node: scheduler (SWARM 2.1)."""
    for before, after in step.changed(Task):
        changed = {field for field in _FIELDS if getattr(before, field) != getattr(after, field)}
        state = before.status.state
        allowed = {"status"} if "status" in changed else {"desired_state"}
        if "status" in changed and state is TaskState.NEW:
            allowed |= {"endpoint"}
        if "status" in changed and state is TaskState.PENDING:
            allowed |= {"node_id"}
        if changed - allowed:
            yield f"{tell(after)} changed in {', '.join(sorted(changed))} at once"


def tasks_begin_as_their_service_says(step: Step) -> Iterator[str]:
    """A new task copies its service's template as it is now, for a slot or a node that suits (SWARM 2.2, 4.1, 4.2)."""
    for task in step.born(Task):
        service = step.picture.services.get(task.service_id)
        if service is None:
            yield f"{tell(task)} was made for a service that does not exist"
            continue
        beginnings = _beginnings(is_of_job=is_job(service.spec.mode))
        if task.status.state is not TaskState.NEW or task.desired_state not in beginnings:
            yield f"{tell(task)} was made in these states, and not to begin"
        if task.spec != service.spec.task_template or task.spec_version != service.spec_version:
            yield f"{tell(task)} was made from spec {task.spec_version}, its service has {service.spec_version}"
        if task.job_iteration != run_of(service):
            yield f"{tell(task)} was made for run {task.job_iteration}, its service is in run {run_of(service)}"
        if (task.service_name, task.service_labels) != (service.spec.name, service.spec.labels):
            yield f"{tell(task)} was not given its service's name and labels"
        if task.endpoint is None or task.endpoint.spec != endpoint_spec(service):
            yield f"{tell(task)} was not given its service's endpoint"
        yield from _check_place(step, task, service)


def _check_place(step: Step, task: Task, service: Service) -> Iterator[str]:
    if not is_global(service):
        if task.slot < 1 or task.node_id:
            yield f"{tell(task)} was made for slot {task.slot} and node {task.node_id!r} of a replicated service"
        return
    if task.slot or not task.node_id:
        yield f"{tell(task)} was made for slot {task.slot} and node {task.node_id!r} of a global service"
        return
    node = step.picture.nodes.get(task.node_id)
    if node is None:
        yield f"{tell(task)} was made for a node that does not exist"
    elif step.picture.is_steady(node.id) and not (
        hosts(node) and node.spec.availability == "active" and fits(task.spec, node)
    ):
        state = f"{node.state.value} and {node.spec.availability}"
        yield f"{tell(task)} was made for a node that is {state}, or does not fit"


def only_what_cannot_run_is_forgotten(step: Step) -> Iterator[str]:
    """A record goes when nobody wants the task and no process of it can exist (SWARM 2.1, 4.10)."""
    for task in step.died(Task):
        is_placed = task.status.state >= TaskState.ASSIGNED and task.node_id in step.picture.nodes
        if not task.status.state.is_terminal and (is_wanted(task) or is_placed):
            yield f"{tell(task)} was forgotten although it may run"


def history_is_kept(step: Step) -> Iterator[str]:
    """The history limit holds from below too: users and restart policies ask for these records (SWARM 4.5, 4.10).

    What a job has done in its present run is known by its records alone: it would be done again (4.3).
    """
    died = list(step.died(Task))
    for task in died:
        service = step.picture.services.get(task.service_id)
        if service is None or task.desired_state is TaskState.REMOVE:
            continue
        if is_completion(task, service):
            yield f"{tell(task)} was forgotten, and its job is still in run {task.job_iteration}"
        rest = step.picture.others(task)
        known = [*rest, *(other for other in died if slot_of(other) == slot_of(task))]
        least = min(_limit(record, limit) for record in known for limit in step.picture.history_limits)
        if len(rest) < least:
            yield f"{tell(task)} was forgotten, and only {len(rest)} records of its slot are left of at least {least}"


def _limit(task: Task, history_limit: int) -> float:
    attempts = restart_rule(task.spec).max_attempts
    limit = attempts + 1 if attempts else history_limit
    return float("inf") if limit < 0 else limit


RULES: Final = (
    Rule(7, "tasks stay what they are", tasks_stay_what_they_are),
    Rule(8, "observed states rise as their writers may", observed_states_rise_as_their_writers_may),
    Rule(9, "desired states rise", desired_states_rise),
    Rule(10, "one loop writes one field", one_loop_writes_one_field),
    Rule(11, "tasks begin as their service says", tasks_begin_as_their_service_says),
    Rule(12, "only what cannot run is forgotten", only_what_cannot_run_is_forgotten),
    Rule(13, "history is kept", history_is_kept),
)
