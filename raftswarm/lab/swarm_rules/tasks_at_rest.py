"""Rules 34, 35, 37, 40 and 41, of tasks and nodes at rest: what is wanted runs, and what runs is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftswarm.lab.swarm_rules.at_rest import AtRest, has_its_ports, state_of
from raftswarm.lab.swarm_rules.picture import Picture, Rule, hosts, is_done, is_let_run, tell
from raftswarm.lab.swarm_rules.placement import host_ports, missing_plugins, reservations, runs_on
from raftswarm.objects.records import Node, Task
from raftswarm.objects.specs import Placement
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import fits, holds_resources, is_active, is_wanted


def wanted_tasks_run(rest: AtRest) -> Iterator[str]:
    """A wanted task runs on a node that may have it, or waits because none can take it, and says why (SWARM 5.2)."""
    for task in rest.tasks:
        if not is_wanted(task) or is_done(task):
            continue
        service = rest.picture.services.get(task.service_id)
        node = rest.picture.nodes.get(task.node_id)
        if task.status.state is TaskState.RUNNING and is_let_run(task):
            yield from _check_host(task, node)
        elif task.status.state is TaskState.PENDING:
            if free := _first_free(rest.picture, task):
                yield f"{tell(task)} waits, though node {free.id} could take it"
            elif not task.status.error:
                yield f"{tell(task)} waits, and nobody says why"
        elif task.status.state is not TaskState.NEW or service is None or has_its_ports(service):
            yield f"{tell(task)} is neither where it should be nor waiting for a node"


def _check_host(task: Task, node: Node | None) -> Iterator[str]:
    if node is None:
        yield f"{tell(task)} runs on a node that does not exist"
    elif not hosts(node):
        yield f"{tell(task)} runs on node {node.id}, which is {state_of(node)}"
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
            yield f"{tell(task)} has not stopped, and its node is {state_of(node)}"


def records_refer_to_what_is_there(rest: AtRest) -> Iterator[str]:
    """A task's service exists, or it is on its way out; so does the node of a task that may run (SWARM 4.6)."""
    for task in rest.tasks:
        if task.service_id not in rest.picture.services and task.desired_state is not TaskState.REMOVE:
            yield f"{tell(task)} is kept, and its service is gone"
        if holds_resources(task) and task.node_id not in rest.picture.nodes:
            yield f"{tell(task)} is kept, and its node is gone"


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


RULES: Final = (
    Rule(34, "wanted tasks run", wanted_tasks_run),
    Rule(35, "leftovers have a reason", leftovers_have_a_reason),
    Rule(37, "records refer to what is there", records_refer_to_what_is_there),
    Rule(40, "tables say what is so", tables_say_what_is_so),
    Rule(41, "addresses are used once", addresses_are_used_once),
)
