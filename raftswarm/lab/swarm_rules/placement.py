"""Rules 24 to 30, of nodes and what tasks take there: assignments that suit, and ports that are given once.

What a task needs of a node is read here anew: the scheduler's filters are what these rules judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from raftswarm.lab.swarm_rules.picture import Rule, Step, tell
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import ContainerSpec, EndpointSpec, Placement, PortConfig, Reservations, Resources
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import endpoint_spec, fits, is_active, is_wanted

AUTOMATIC: Final = range(30000, 32768)
_SAME: Final = {"x86_64": "amd64", "aarch64": "arm64"}

Port: TypeAlias = tuple[str, int]
"""Protocol and number."""


def assignments(step: Step) -> Iterator[tuple[Task, Node | None]]:
    """The tasks that this command gave to nodes."""
    for before, after in step.changed(Task):
        if before.status.state < TaskState.ASSIGNED <= after.status.state <= TaskState.RUNNING:
            yield after, step.picture.nodes.get(after.node_id)


def tasks_go_to_available_nodes(step: Step) -> Iterator[str]:
    """Only wanted tasks, and only to nodes that are ready and active: not down, drained, paused or gone (SWARM 5.2)."""
    for task, node in assignments(step):
        if node is None:
            yield f"{tell(task)} was assigned to a node that does not exist"
        elif node.state is not NodeState.READY or node.spec.availability != "active":
            yield f"{tell(task)} was assigned to node {node.id}, which is {node.state.value}, {node.spec.availability}"
        if not is_wanted(task):
            yield f"{tell(task)} was assigned to node {task.node_id}, and nobody wants it"


def tasks_go_where_their_constraints_allow(step: Step) -> Iterator[str]:
    """Every constraint of the task's spec holds for its node (SWARM 5.2, 5.7)."""
    for task, node in assignments(step):
        if node is not None and not fits(task.spec, node):
            constraints = (task.spec.placement or Placement()).constraints
            yield f"{tell(task)} was assigned to node {node.id}, which does not meet {constraints}"


def nodes_are_not_overcommitted(step: Step) -> Iterator[str]:
    """What the tasks of a node reserve is there, whenever one that reserves something comes (SWARM 5.2, 5.5)."""
    for task, node in assignments(step):
        asked = reservations(task)
        if asked.generic_resources:
            yield f"{tell(task)} was assigned, and asks for generic resources that no node offers"
        if node is None or not (asked.nano_cpus or asked.memory_bytes):
            continue
        taken = [reservations(other) for other in step.picture.placed.get(node.id, {}).values()]
        cpus, memory = sum(each.nano_cpus for each in taken), sum(each.memory_bytes for each in taken)
        if asked.nano_cpus and cpus > node.description.nano_cpus:
            yield f"{tell(task)} came to node {node.id}: {cpus} nano CPUs reserved of {node.description.nano_cpus}"
        if asked.memory_bytes and memory > node.description.memory_bytes:
            yield f"{tell(task)} came to node {node.id}: {memory} bytes reserved of {node.description.memory_bytes}"


def tasks_go_to_machines_that_can_run_them(step: Step) -> Iterator[str]:
    """Platform, volume drivers and log driver are there, as far as the node has told (SWARM 5.2, 3 and 5)."""
    for task, node in assignments(step):
        if node is None:
            continue
        if not runs_on(task, node):
            yield f"{tell(task)} was assigned to node {node.id}, whose platform it does not run on"
        if missing := missing_plugins(task, node):
            yield f"{tell(task)} was assigned to node {node.id}, which lacks {', '.join(missing)}"


def replicas_per_node_are_limited(step: Step) -> Iterator[str]:
    """A node has at most so many active tasks of a service as its spec allows (SWARM 5.2, 7)."""
    given = [task for task, _ in assignments(step)]
    for position, task in enumerate(given):
        most = (task.spec.placement or Placement()).max_replicas
        later = {other.id for other in given[position + 1 :]}  # Other specs may allow more.
        here = step.picture.placed.get(task.node_id, {}).values()
        active = sum(
            other.service_id == task.service_id and is_active(other) and other.id not in later for other in here
        )
        if most and active > most:
            yield f"{tell(task)} is number {active} of its service on node {task.node_id}, {most} at most"


def host_ports_are_taken_once(step: Step) -> Iterator[str]:
    """On one node no two live tasks publish one port there, whoever chose it (SWARM 5.2, 6)."""
    for task, _ in assignments(step):
        mine = set(host_ports(task))
        for other in step.picture.placed.get(task.node_id, {}).values() if mine else ():
            if other.id != task.id and (both := mine & set(host_ports(other))):
                yield f"{tell(task)} came to node {task.node_id}, where task {other.id} has its port {min(both)}"


def ingress_ports_are_given_once(step: Step) -> Iterator[str]:
    """A published port belongs to one service; chosen ones are as asked, others of 30000 to 32767 (SWARM 6.4).

    And tasks go on to the scheduler when their service has its ports, and take them along (6.1).
    """
    yield from _check_queued(step)
    changed = [after for before, after in step.pairs(Service) if after is not None and _is_republished(before, after)]
    if not changed:
        return
    owners: dict[Port, str] = {}
    addresses: Counter[tuple[str, str]] = Counter()
    for service in step.picture.services.values():
        if service.endpoint is None:
            continue
        addresses.update(service.endpoint.virtual_ips)
        for port in ingress_ports(service.endpoint.ports):
            owner = owners.setdefault(port, service.id)
            if owner != service.id:
                yield f"services {owner} and {service.id} both have port {port[1]}/{port[0]}"
    for service in changed:
        yield from _check_endpoint(service)
    for (network, address), count in addresses.items():
        if count > 1:
            yield f"{count} services have the address {address} in network {network}"


def _check_queued(step: Step) -> Iterator[str]:
    for before, task in step.changed(Task):
        service = step.picture.services.get(task.service_id)
        if before.status.state is not TaskState.NEW or task.status.state is not TaskState.PENDING or service is None:
            continue
        given = service.endpoint.spec if service.endpoint is not None else EndpointSpec()
        if given != endpoint_spec(service) and (given.ports or endpoint_spec(service).ports):
            yield f"{tell(task)} went on before its service had its ports"
        elif service.endpoint is not None and task.endpoint != service.endpoint:
            yield f"{tell(task)} went on without the ports of its service"


def _is_republished(before: Service | None, after: Service) -> bool:
    return after.endpoint is not None and (before is None or before.endpoint != after.endpoint)


def _check_endpoint(service: Service) -> Iterator[str]:
    assert service.endpoint is not None, "asked of services that have one"
    name = f"service {service.spec.name} ({service.id})"
    if service.endpoint.spec != endpoint_spec(service):
        yield f"{name} was given ports for a spec that its user has changed since"
    asked = service.endpoint.spec.ports or []
    given = service.endpoint.ports
    if len(asked) != len(given):
        yield f"{name} asked for {len(asked)} ports and was given {len(given)}"
    for wanted, port in zip(asked, given, strict=False):
        if (wanted.name, wanted.protocol, wanted.target_port, wanted.publish_mode) != (
            port.name,
            port.protocol,
            port.target_port,
            port.publish_mode,
        ):
            yield f"{name} asked for {wanted} and was given {port}"
        elif wanted.published_port and wanted.published_port != port.published_port:
            yield f"{name} asked for port {wanted.published_port} and was given {port.published_port}"
        elif port.publish_mode == "ingress" and not wanted.published_port and port.published_port not in AUTOMATIC:
            yield f"{name} was given port {port.published_port}, which is none of the automatic ones"


def reservations(task: Task) -> Reservations:
    """What a task has a node set aside for it."""
    return (task.spec.resources or Resources()).reservations or Reservations()


def host_ports(task: Task) -> list[Port]:
    """What a task publishes on its own node; port 0 is found there."""
    ports = task.endpoint.ports if task.endpoint is not None else ()
    return [
        (port.protocol, port.published_port) for port in ports if port.publish_mode == "host" and port.published_port
    ]


def ingress_ports(ports: Iterable[PortConfig]) -> list[Port]:
    """What all nodes publish."""
    return [(port.protocol, port.published_port) for port in ports if port.publish_mode == "ingress"]


def runs_on(task: Task, node: Node) -> bool:
    """Tell whether one of the task's platforms is the node's."""
    platforms = (task.spec.placement or Placement()).platforms
    actual = node.description.platform
    return not platforms or any(
        wanted.os in {"", actual.os}
        and _SAME.get(wanted.architecture, wanted.architecture)
        in {"", _SAME.get(actual.architecture, actual.architecture)}
        for wanted in platforms
    )


def missing_plugins(task: Task, node: Node) -> list[str]:
    """The drivers a task asks for that a node which has described itself does not have."""
    description = node.description
    if not description.plugins and not description.engine_version:
        return []
    offered = {(kind, name.removesuffix(":latest")) for kind, name in description.plugins}
    missing = [driver for driver in _volume_drivers(task) if ("Volume", driver.removesuffix(":latest")) not in offered]
    log = task.spec.log_driver.name if task.spec.log_driver is not None else ""
    tells_logs = any(kind == "Log" for kind, _ in offered)
    if log not in {"", "none"} and tells_logs and ("Log", log.removesuffix(":latest")) not in offered:
        missing.append(log)
    return missing


def _volume_drivers(task: Task) -> Iterator[str]:
    for mount in (task.spec.container_spec or ContainerSpec()).mounts or ():
        options = mount.volume_options
        driver = options.driver_config.name if options is not None and options.driver_config is not None else ""
        if mount.type == "volume" and driver not in {"", "local"}:
            yield driver


RULES: Final = (
    Rule(24, "tasks go to available nodes", tasks_go_to_available_nodes),
    Rule(25, "tasks go where their constraints allow", tasks_go_where_their_constraints_allow),
    Rule(26, "nodes are not overcommitted", nodes_are_not_overcommitted),
    Rule(27, "tasks go to machines that can run them", tasks_go_to_machines_that_can_run_them),
    Rule(28, "replicas per node are limited", replicas_per_node_are_limited),
    Rule(29, "host ports are taken once", host_ports_are_taken_once),
    Rule(30, "ingress ports are given once", ingress_ports_are_given_once),
)
