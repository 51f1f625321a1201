"""Rules 31 to 41, of a swarm at rest: nothing has changed for a while, and nobody is about to change anything.

Then every service has what its user wants, as far as the nodes allow, and each record beyond has a reason (SWARM 4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Final

import attrs

from raftswarm.lab.swarm_rules.picture import Picture, Rule, hosts, tell
from raftswarm.lab.swarm_rules.placement import host_ports, ingress_ports, missing_plugins, reservations, runs_on
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import Placement
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.tasks import (
    age,
    endpoint_spec,
    fits,
    holds_resources,
    is_active,
    is_dirty,
    is_wanted,
)

_UNDER_WAY: Final = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
_PAUSED: Final = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


@attrs.frozen(kw_only=True)
class Facts:
    """What the world knows and the tables may have wrong; None for what it does not know."""

    reachable: Collection[str] | None = None
    """Ids of the nodes whose agents are in touch with the managers."""
    processes: Mapping[str, Collection[str]] | None = None
    """By node: the ids of the tasks of which a process runs there."""
    failing: Collection[str] = ()
    """Ids of the services whose tasks keep ending: they are not at rest, and rules leave them out."""


@attrs.frozen(eq=False, slots=False)
class AtRest:
    """The tables of a swarm at rest, and the facts."""

    picture: Picture
    facts: Facts

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """Those that should be at rest."""
        return tuple(
            service for _, service in sorted(self.picture.services.items()) if service.id not in self.facts.failing
        )

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Those of services that should be at rest, or that are gone."""
        return tuple(
            task for _, task in sorted(self.picture.tasks.items()) if task.service_id not in self.facts.failing
        )

    def slots(self, service: Service) -> dict[int | str, list[Task]]:
        """A service's slots, each from the oldest record to the newest."""
        return {
            key: sorted(records.values(), key=age)
            for (service_id, key), records in self.picture.slots.items()
            if service_id == service.id
        }

    def nodes(self) -> list[Node]:
        """All of them, by id."""
        return [node for _, node in sorted(self.picture.nodes.items())]


def services_have_their_replicas(rest: AtRest) -> Iterator[str]:
    """A replicated service fills as many slots as its user wants; an ended task may fill one (SWARM 2.2, 4.1)."""
    for service in rest.services:
        if service.spec.mode.global_ is not None:
            continue
        replicated = service.spec.mode.replicated
        wanted = 1 if replicated is None or replicated.replicas is None else replicated.replicas
        filled = [key for key, records in rest.slots(service).items() if _is_filled(records)]
        if len(filled) != wanted:
            yield f"service {service.spec.name} ({service.id}) wants {wanted} replicas and fills {len(filled)} slots"
        for key, records in rest.slots(service).items():
            if (count := sum(map(is_wanted, records))) > 1 and not _is_blocked(rest, service):
                yield f"service {service.spec.name} ({service.id}) has {count} wanted tasks in slot {key}"


def _is_filled(records: list[Task]) -> bool:
    return any(map(is_wanted, records)) or _has_ended_for_good(records)


def _has_ended_for_good(records: list[Task]) -> bool:
    newest = records[-1]
    rule = restart_rule(newest.spec)
    if newest.desired_state is TaskState.REMOVE:
        return False
    if rule.condition == "none" or (rule.condition == "on-failure" and newest.status.state is TaskState.COMPLETE):
        return True
    alike = sum(record.spec_version == newest.spec_version for record in records)
    return bool(rule.max_attempts) and alike > rule.max_attempts


def global_services_are_where_they_can_be(rest: AtRest) -> Iterator[str]:
    """A global service has one task on each node that fits; what is paused stays as it is (SWARM 4.2)."""
    for service in rest.services:
        if service.spec.mode.global_ is None:
            continue
        name = f"global service {service.spec.name} ({service.id})"
        slots = rest.slots(service)
        for node in rest.nodes():
            records = slots.get(node.id, [])
            wanted = sum(map(is_wanted, records))
            if not hosts(node) or not fits(service.spec.task_template, node):
                if wanted:
                    yield f"{name} wants a task on node {node.id}, which is {_state_of(node)} or does not fit"
            elif wanted > 1 and not _is_blocked(rest, service):
                yield f"{name} wants {wanted} tasks on node {node.id}"
            elif node.spec.availability == "active" and not (records and _is_filled(records)):
                yield f"{name} wants no task on node {node.id}, which is {_state_of(node)} and fits"


def tasks_are_of_the_present_spec(rest: AtRest) -> Iterator[str]:
    """After an update nothing of the old spec is wanted, unless the update stands still (SWARM 4.9)."""
    for service in rest.services:
        is_paused = service.update_status is not None and service.update_status.state in _PAUSED
        if is_paused or _is_blocked(rest, service):
            continue
        for key, records in rest.slots(service).items():
            for task in filter(is_wanted, records):
                node = rest.picture.nodes.get(task.node_id)
                is_left_alone = isinstance(key, str) and node is not None and node.spec.availability == "pause"
                if is_dirty(task, service, node) and not is_left_alone:
                    yield f"{tell(task)} is of spec {task.spec_version}, its service wants {service.spec_version}"


def wanted_tasks_run(rest: AtRest) -> Iterator[str]:
    """A wanted task runs on a node that may have it, or waits because none can take it, and says why (SWARM 5.2)."""
    for task in filter(is_wanted, rest.tasks):
        service = rest.picture.services.get(task.service_id)
        node = rest.picture.nodes.get(task.node_id)
        if task.status.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING:
            yield from _check_host(task, node)
        elif task.status.state is TaskState.PENDING:
            if free := _first_free(rest.picture, task):
                yield f"{tell(task)} waits, though node {free.id} could take it"
            elif not task.status.error:
                yield f"{tell(task)} waits, and nobody says why"
        elif task.status.state is not TaskState.NEW or service is None or _has_its_ports(service):
            yield f"{tell(task)} is neither where it should be nor waiting for a node"


def _check_host(task: Task, node: Node | None) -> Iterator[str]:
    if node is None:
        yield f"{tell(task)} runs on a node that does not exist"
    elif not hosts(node):
        yield f"{tell(task)} runs on node {node.id}, which is {_state_of(node)}"
    elif node.spec.availability == "active" and not fits(task.spec, node):
        yield f"{tell(task)} runs on node {node.id}, which does not meet its constraints"


def _first_free(picture: Picture, task: Task) -> Node | None:
    candidates = [task.node_id] if task.node_id else sorted(picture.nodes)
    return next((picture.nodes[node_id] for node_id in candidates if _could_take(picture, task, node_id)), None)


def _could_take(picture: Picture, task: Task, node_id: str) -> bool:
    node = picture.nodes.get(node_id)
    if node is None or node.state is not NodeState.READY or node.spec.availability != "active":
        return False
    here = list(picture.placed.get(node_id, {}).values())
    asked, total = reservations(task), node.description
    cpus = sum(reservations(other).nano_cpus for other in here) + asked.nano_cpus
    memory = sum(reservations(other).memory_bytes for other in here) + asked.memory_bytes
    most = (task.spec.placement or Placement()).max_replicas
    alike = sum(other.service_id == task.service_id and is_active(other) for other in here)
    taken = {port for other in here for port in host_ports(other)}
    return (
        fits(task.spec, node)
        and not asked.generic_resources
        and (not asked.nano_cpus or cpus <= total.nano_cpus)
        and (not asked.memory_bytes or memory <= total.memory_bytes)
        and runs_on(task, node)
        and not missing_plugins(task, node)
        and (not most or alike < most)
        and not taken & set(host_ports(task))
    )


def leftovers_have_a_reason(rest: AtRest) -> Iterator[str]:
    """What nobody wants has stopped, or its node is down; what was to be removed is gone (SWARM 4.10, 7.3)."""
    for task in rest.tasks:
        if is_wanted(task):
            continue
        node = rest.picture.nodes.get(task.node_id)
        is_out_of_reach = holds_resources(task) and node is not None and node.state is NodeState.DOWN
        if task.status.state.is_terminal:
            if task.desired_state is TaskState.REMOVE:
                yield f"{tell(task)} has stopped and is still there"
        elif not is_out_of_reach:
            yield f"{tell(task)} has not stopped, and its node is {_state_of(node)}"


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
            ended = sum(record.status.state.is_terminal for record in records)
            if 0 <= limit < len(records) and ended:
                yield (
                    f"service {service.spec.name} ({service.id}) keeps {len(records)} records in slot {key}, "
                    f"{ended} of them ended, {limit} at most"
                )


def records_refer_to_what_is_there(rest: AtRest) -> Iterator[str]:
    """A task's service exists, or it is on its way out; so does the node of a task that may run (SWARM 4.6)."""
    for task in rest.tasks:
        if task.service_id not in rest.picture.services and task.desired_state is not TaskState.REMOVE:
            yield f"{tell(task)} is kept, and its service is gone"
        if holds_resources(task) and task.node_id not in rest.picture.nodes:
            yield f"{tell(task)} is kept, and its node is gone"


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
        if not _has_its_ports(service) and not any(owners.get(port, service.id) != service.id for port in chosen):
            yield f"{name} waits for ports that nobody has"


def _has_its_ports(service: Service) -> bool:
    wanted = endpoint_spec(service)
    return not wanted.ports if service.endpoint is None else service.endpoint.spec == wanted


def tables_say_what_is_so(rest: AtRest) -> Iterator[str]:
    """A node is ready if its agent is in touch, and down if not; a task runs if its process does (SWARM 7.2, 7.4)."""
    reachable, processes = rest.facts.reachable, rest.facts.processes
    for node in rest.nodes():
        if reachable is not None:
            expected = NodeState.READY if node.id in reachable else NodeState.DOWN
            if node.state is not expected:
                yield f"node {node.id} is {node.state.value}, and should be {expected.value}"
        if processes is None or node.state is not NodeState.READY:
            continue
        placed = rest.picture.placed.get(node.id, {}).values()
        running = {task.id for task in placed if task.status.state is TaskState.RUNNING}
        existing = {task_id for task_id in processes.get(node.id, ()) if not _is_failing(rest, task_id)}
        running -= {task_id for task_id in running if _is_failing(rest, task_id)}
        if running - existing:
            yield f"node {node.id} has no process of tasks {', '.join(sorted(running - existing))}, which run"
        if existing - running:
            yield f"node {node.id} has processes of tasks {', '.join(sorted(existing - running))}, which do not run"


def _is_failing(rest: AtRest, task_id: str) -> bool:
    task = rest.picture.tasks.get(task_id)
    return task is not None and task.service_id in rest.facts.failing


def addresses_are_used_once(rest: AtRest) -> Iterator[str]:
    """On one node no two running tasks have one address: each listens on its own."""
    for node in rest.nodes():
        owners: dict[str, str] = {}
        for _, task in sorted(rest.picture.placed.get(node.id, {}).items()):
            address = task.status.address
            if task.status.state is TaskState.RUNNING and address and owners.setdefault(address, task.id) != task.id:
                yield f"{tell(task)} has the address {address}, and so has task {owners[address]}"


def _state_of(node: Node | None) -> str:
    return f"{node.state.value} ({node.spec.availability})" if node is not None else "gone"


RULES: Final = (
    Rule(31, "services have their replicas", services_have_their_replicas),
    Rule(32, "global services are where they can be", global_services_are_where_they_can_be),
    Rule(33, "tasks are of the present spec", tasks_are_of_the_present_spec),
    Rule(34, "wanted tasks run", wanted_tasks_run),
    Rule(35, "leftovers have a reason", leftovers_have_a_reason),
    Rule(36, "histories are short", histories_are_short),
    Rule(37, "records refer to what is there", records_refer_to_what_is_there),
    Rule(38, "updates have ended", updates_have_ended),
    Rule(39, "ports are given and taken back", ports_are_given_and_taken_back),
    Rule(40, "tables say what is so", tables_say_what_is_so),
    Rule(41, "addresses are used once", addresses_are_used_once),
)
