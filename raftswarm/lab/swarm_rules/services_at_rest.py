"""Rules 31 to 33, 36, 38 and 39, of services at rest: their slots, specs, histories, updates and ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftswarm.lab.swarm_rules.at_rest import AtRest, has_its_ports, state_of
from raftswarm.lab.swarm_rules.picture import (
    Rule,
    hosts,
    is_alike,
    is_completion,
    is_done,
    is_global,
    run_of,
    tell,
)
from raftswarm.lab.swarm_rules.placement import ingress_ports
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Service, Task
from raftswarm.objects.specs import ReplicatedJob, is_job
from raftswarm.objects.states import TaskState, UpdateState
from raftswarm.objects.tasks import endpoint_spec, fits, is_dirty, is_wanted

_UNDER_WAY: Final = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
_PAUSED: Final = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


def services_have_their_replicas(rest: AtRest) -> Iterator[str]:
    """A replicated service fills as many slots as its user wants; an ended task may fill one (SWARM 2.2, 4.1).

    A replicated job has done its completions, or has as many under way as may be at once (4.3).
    """
    for service in rest.services:
        if is_global(service):
            continue
        mode, slots = service.spec.mode, rest.slots(service)
        name = f"service {service.spec.name} ({service.id})"
        if mode.replicated_job is not None:
            yield from _check_completions(name, mode.replicated_job, _of_present_run(service, slots))
        else:
            wanted = 1 if mode.replicated is None or mode.replicated.replicas is None else mode.replicated.replicas
            filled = [key for key, records in slots.items() if _is_filled(records)]
            if len(filled) != wanted:
                yield f"{name} wants {wanted} replicas and fills {len(filled)} slots"
        for key, records in _of_present_run(service, slots).items():
            if (count := sum(map(is_wanted, records))) > 1 and not _is_blocked(rest, service):
                yield f"{name} has {count} wanted tasks in slot {key}"


def _check_completions(name: str, job: ReplicatedJob, slots: dict[int | str, list[Task]]) -> Iterator[str]:
    total, most = job.total_completions or 0, job.max_concurrent or 0
    under_way = sum(any(is_wanted(task) and not is_done(task) for task in records) for records in slots.values())
    settled = sum(_is_filled(records) for records in slots.values()) - under_way
    if under_way != min(most, total - settled):
        yield (
            f"{name} wants {total} completions, {most} at once: {settled} slots are done or given up, "
            f"{under_way} are under way"
        )


def _of_present_run(service: Service, slots: dict[int | str, list[Task]]) -> dict[int | str, list[Task]]:
    """The same slots without what a job did in earlier runs."""
    present = {
        key: [task for task in records if task.job_iteration == run_of(service)] for key, records in slots.items()
    }
    return {key: records for key, records in present.items() if records}


def _is_filled(records: list[Task]) -> bool:
    # What a job has done is done, although it was told to stop meanwhile.
    return any(is_wanted(task) or is_done(task) for task in records) or _has_ended_for_good(records)


def _has_ended_for_good(records: list[Task]) -> bool:
    newest = records[-1]
    rule = restart_rule(newest.spec)
    if newest.desired_state is TaskState.REMOVE:
        return False
    if rule.condition == "none" or (rule.condition == "on-failure" and newest.status.state is TaskState.COMPLETE):
        return True
    alike = sum(is_alike(record, newest) for record in records)
    return bool(rule.max_attempts) and alike > rule.max_attempts


def global_services_are_where_they_can_be(rest: AtRest) -> Iterator[str]:
    """A global service has one task on each node that fits; what is paused stays as it is (SWARM 4.2).

    A global job has run, or runs, on each active node that fits, and goes on nowhere else (4.4).
    """
    for service in rest.services:
        if not is_global(service):
            continue
        name = f"global service {service.spec.name} ({service.id})"
        mode, slots = service.spec.mode, _of_present_run(service, rest.slots(service))
        for node in rest.nodes():
            records = slots.get(node.id, [])
            is_open = node.spec.availability == "active"
            may_stay = hosts(node) and fits(service.spec.task_template, node) and (is_open or not is_job(mode))
            if not may_stay:
                if any(is_wanted(task) and not is_done(task) for task in records):
                    yield f"{name} wants a task on node {node.id}, which is {state_of(node)} or does not fit"
            elif (wanted := sum(map(is_wanted, records))) > 1 and not _is_blocked(rest, service):
                yield f"{name} wants {wanted} tasks on node {node.id}"
            elif is_open and not (records and _is_filled(records)):
                yield f"{name} wants no task on node {node.id}, which is {state_of(node)} and fits"


def tasks_are_of_the_present_spec(rest: AtRest) -> Iterator[str]:
    """After an update nothing of the old spec is wanted, unless the update stands still (SWARM 4.9).

    Of a job's earlier runs only what is done is (4.3).
    """
    for service in rest.services:
        is_paused = service.update_status is not None and service.update_status.state in _PAUSED
        if is_paused or _is_blocked(rest, service):
            continue
        for key, records in rest.slots(service).items():
            for task in records:
                node = rest.picture.nodes.get(task.node_id)
                is_left_alone = isinstance(key, str) and node is not None and node.spec.availability == "pause"
                if is_wanted(task) and not is_done(task) and is_dirty(task, service, node) and not is_left_alone:
                    yield f"{tell(task)} is of spec {task.spec_version}, its service wants {service.spec_version}"


def histories_are_short(rest: AtRest) -> Iterator[str]:
    """A slot keeps no more ended tasks than the limit allows, the one that runs included (SWARM 4.10)."""
    cluster = rest.picture.cluster
    for service in rest.services:
        for key, records in rest.slots(service).items():
            if cluster is not None and cluster.updated_at >= max(record.created_at for record in records):
                continue  # The limit may be new, and does not look back.
            attempts = restart_rule(records[-1].spec).max_attempts
            limit = attempts + 1 if attempts else rest.picture.history_limits[0]
            if _is_under_way(service) or records[-1].desired_state is TaskState.READY:
                limit = max(limit, 2) + 1 if limit >= 0 else limit  # What waits is told by the records before it.
            if all(record.job_iteration != run_of(service) for record in records):
                continue  # A job has left that slot behind: nothing has been made there since.
            ended = sum(record.status.state.is_terminal and not is_completion(record, service) for record in records)
            if 0 <= limit < len(records) and ended:
                yield (
                    f"service {service.spec.name} ({service.id}) keeps {len(records)} records in slot {key}, "
                    f"{ended} of them ended, {limit} at most"
                )


def updates_have_ended(rest: AtRest) -> Iterator[str]:
    """An update completes or pauses, or waits for a task that has no place yet (SWARM 4.9, 18)."""
    for service in rest.services:
        if _is_under_way(service) and not _is_blocked(rest, service):
            yield f"service {service.spec.name} ({service.id}) is still on its way to spec {service.spec_version}"


def _is_under_way(service: Service) -> bool:
    return service.update_status is not None and service.update_status.state in _UNDER_WAY


def _is_blocked(rest: AtRest, service: Service) -> bool:
    """Tell whether an update waits for a task that has no place: it goes no further, and keeps what it has begun."""
    return _is_under_way(service) and any(
        task.service_id == service.id and is_wanted(task) and task.status.state is TaskState.PENDING
        for task in rest.tasks
    )


def ports_are_given_and_taken_back(rest: AtRest) -> Iterator[str]:
    """A service has the ports it asks for, or another has them; who asks for none has none (SWARM 6.3, 6.4)."""
    owners = {
        port: service.id
        for _, service in sorted(rest.picture.services.items())
        if service.endpoint is not None
        for port in ingress_ports(service.endpoint.ports)
    }
    for service in rest.services:
        name = f"service {service.spec.name} ({service.id})"
        wanted = endpoint_spec(service)
        if not wanted.ports and service.endpoint is not None and service.endpoint.ports:
            yield f"{name} asks for no ports and has {len(service.endpoint.ports)}"
        chosen = [port for port in ingress_ports(wanted.ports or ()) if port[1]]
        if not has_its_ports(service) and not any(owners.get(port, service.id) != service.id for port in chosen):
            yield f"{name} waits for ports that nobody has"


RULES: Final = (
    Rule(31, "services have their replicas", services_have_their_replicas),
    Rule(32, "global services are where they can be", global_services_are_where_they_can_be),
    Rule(33, "tasks are of the present spec", tasks_are_of_the_present_spec),
    Rule(36, "histories are short", histories_are_short),
    Rule(38, "updates have ended", updates_have_ended),
    Rule(39, "ports are given and taken back", ports_are_given_and_taken_back),
)
