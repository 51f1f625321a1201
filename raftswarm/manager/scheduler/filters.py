"""Which nodes can take a task, and why the others cannot: the filters in their order, and their words (SWARM 5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from raftswarm.manager.scheduler.ledger import NodeLoad, Port, host_ports
from raftswarm.objects.constraints import Constraint, node_attribute, node_matches, parse_constraints
from raftswarm.objects.records import Task
from raftswarm.objects.specs import ContainerSpec, Mount, Placement, Platform, Reservations
from raftswarm.objects.states import NodeState
from raftswarm.objects.tasks import reservations

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@attrs.frozen
class Needs:
    """What a task asks of its node, read from its spec once."""

    service_id: str
    reserved: Reservations
    plugins: tuple[tuple[str, str], ...]
    log_driver: str
    constraints: tuple[Constraint, ...]
    platforms: tuple[Platform, ...]
    ports: tuple[Port, ...]
    max_replicas: int

    @classmethod
    def of(cls, task: Task) -> Needs:
        """Read them."""
        placement = task.spec.placement or Placement()
        container = task.spec.container_spec or ContainerSpec()
        return cls(
            service_id=task.service_id,
            reserved=reservations(task),
            plugins=tuple(("Volume", driver) for driver in _volume_drivers(container.mounts or ())),
            log_driver=task.spec.log_driver.name if task.spec.log_driver is not None else "",
            constraints=parse_constraints(placement.constraints or ()),
            platforms=tuple(placement.platforms or ()),
            ports=tuple(host_ports(task)),
            max_replicas=placement.max_replicas,
        )


def _volume_drivers(mounts: Iterable[Mount]) -> Iterator[str]:
    for mount in mounts:
        options = mount.volume_options
        if mount.type == "volume" and options is not None and options.driver_config is not None:
            driver = options.driver_config.name
            if driver and driver != "local":
                yield driver


@attrs.frozen
class Filter:
    """One reason why a node may not take a task."""

    passes: Callable[[Needs, NodeLoad], bool]
    one: str
    many: str
    obstacle: Callable[[Needs, NodeLoad], str]
    """What keeps the task from that node, and what would have to change."""

    def explain(self, count: int) -> str:
        """Say how many nodes it kept out."""
        return self.one if count == 1 else self.many.format(count)


def _is_ready(_: Needs, load: NodeLoad) -> bool:
    return load.node.state is NodeState.READY and load.node.spec.availability == "active"


def _has_resources(needs: Needs, load: NodeLoad) -> bool:
    total, reserved = load.node.description, needs.reserved
    if reserved.generic_resources:
        return False  # No node offers any.
    # Who reserves nothing fits everywhere, also where others have taken more than there is.
    enough_cpus = not reserved.nano_cpus or load.nano_cpus + reserved.nano_cpus <= total.nano_cpus
    enough_memory = not reserved.memory_bytes or load.memory_bytes + reserved.memory_bytes <= total.memory_bytes
    return enough_cpus and enough_memory


def _has_plugins(needs: Needs, load: NodeLoad) -> bool:
    offered = load.node.description.plugins
    if not offered and not load.node.description.engine_version:
        return True  # A node that has not described itself yet.
    if not all(_offers(offered, kind, name) for kind, name in needs.plugins):
        return False
    asks_for_log = needs.log_driver not in {"", "none"} and any(kind == "Log" for kind, _ in offered)
    return not asks_for_log or _offers(offered, "Log", needs.log_driver)


def _offers(offered: Iterable[tuple[str, str]], kind: str, name: str) -> bool:
    return any(plugin in ((kind, name), (kind, f"{name}:latest")) for plugin in offered)


def _meets_constraints(needs: Needs, load: NodeLoad) -> bool:
    return node_matches(needs.constraints, load.node)


def _is_supported(needs: Needs, load: NodeLoad) -> bool:
    actual = load.node.description.platform
    return not needs.platforms or any(
        (not wanted.os or wanted.os == actual.os)
        and (not wanted.architecture or _plain(wanted.architecture) == _plain(actual.architecture))
        for wanted in needs.platforms
    )


def _plain(architecture: str) -> str:
    return _ARCHITECTURES.get(architecture, architecture)


def _has_ports(needs: Needs, load: NodeLoad) -> bool:
    return not any(load.ports[port] for port in needs.ports)


def _has_room_for_replica(needs: Needs, load: NodeLoad) -> bool:
    return not needs.max_replicas or load.active_by_service[needs.service_id] < needs.max_replicas


# What to tell users of one node.


def _why_unavailable(_: Needs, load: NodeLoad) -> str:
    node = load.node
    if node.state is not NodeState.READY:
        return f"it is {node.state.value}" + (f" ({node.message})" if node.message else "")
    return f"its availability is {node.spec.availability}: `docker node update --availability active {_name(load)}`"


def _which_resources(needs: Needs, load: NodeLoad) -> str:
    total, reserved = load.node.description, needs.reserved
    missing: list[str] = []
    if reserved.generic_resources:
        missing.append("it offers no generic resources")
    if reserved.nano_cpus and load.nano_cpus + reserved.nano_cpus > total.nano_cpus:
        free = max(0, total.nano_cpus - load.nano_cpus) / 1e9
        missing.append(
            f"{reserved.nano_cpus / 1e9:g} CPUs are asked for, {free:g} of {total.nano_cpus / 1e9:g} are free"
        )
    if reserved.memory_bytes and load.memory_bytes + reserved.memory_bytes > total.memory_bytes:
        free_bytes = max(0, total.memory_bytes - load.memory_bytes)
        missing.append(
            f"{_mebibytes(reserved.memory_bytes)} of memory are asked for, {_mebibytes(free_bytes)} of "
            f"{_mebibytes(total.memory_bytes)} are free"
        )
    return "; ".join(missing)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f}MiB"


def _which_plugin(needs: Needs, load: NodeLoad) -> str:
    offered = load.node.description.plugins
    wanted = [*needs.plugins, *([("Log", needs.log_driver)] if needs.log_driver not in {"", "none"} else [])]
    missing = [f"{name} ({kind})" for kind, name in wanted if not _offers(offered, kind, name)]
    return f"it lacks the plugin {', '.join(missing)}"


def _which_constraint(needs: Needs, load: NodeLoad) -> str:
    return "; ".join(_describe(one, load) for one in needs.constraints if not node_matches((one,), load.node))


def _describe(constraint: Constraint, load: NodeLoad) -> str:
    asked = f"{constraint.key}{'==' if constraint.wants_equal else '!='}{constraint.value}"
    actual = load.node.address if constraint.key.lower() == "node.ip" else node_attribute(load.node, constraint.key)
    if actual is None:
        return f"{asked} is asked for, and no node has {constraint.key}"
    remedy = ""
    if constraint.wants_equal and constraint.key.lower().startswith("node.labels."):
        label = constraint.key[len("node.labels.") :]
        remedy = f": `docker node update --label-add {label}={constraint.value} {_name(load)}`"
    return f"{asked} is asked for, and it has {actual or 'none'}{remedy}"


def _which_platform(needs: Needs, load: NodeLoad) -> str:
    actual = load.node.description.platform
    wanted = ", ".join(f"{one.os or 'any'}/{one.architecture or 'any'}" for one in needs.platforms)
    return f"it is {actual.os}/{_plain(actual.architecture)}, and the image is for {wanted}"


def _which_port(needs: Needs, load: NodeLoad) -> str:
    taken = ", ".join(f"{number}/{protocol}" for protocol, number in needs.ports if load.ports[protocol, number])
    return f"another task has port {taken} there"


def _how_many(needs: Needs, load: NodeLoad) -> str:
    return (
        f"it has {load.active_by_service[needs.service_id]} tasks of the service, and {needs.max_replicas} is the limit"
    )


def _name(load: NodeLoad) -> str:
    return load.node.description.hostname or load.node.id


FILTERS: Final = (
    Filter(_is_ready, "1 node not available for new tasks", "{} nodes not available for new tasks", _why_unavailable),
    Filter(_has_resources, "insufficient resources on 1 node", "insufficient resources on {} nodes", _which_resources),
    Filter(_has_plugins, "missing plugin on 1 node", "missing plugin on {} nodes", _which_plugin),
    Filter(
        _meets_constraints,
        "scheduling constraints not satisfied on 1 node",
        "scheduling constraints not satisfied on {} nodes",
        _which_constraint,
    ),
    Filter(_is_supported, "unsupported platform on 1 node", "unsupported platform on {} nodes", _which_platform),
    Filter(
        _has_ports, "host-mode port already in use on 1 node", "host-mode port already in use on {} nodes", _which_port
    ),
    Filter(
        _has_room_for_replica,
        "max replicas per node limit exceed",
        "max replicas per node limit exceed",
        _how_many,
    ),
)


def first_failing(needs: Needs, load: NodeLoad) -> Filter | None:
    """The filter that keeps a node out; None if it can take the task."""
    return next((filter_ for filter_ in FILTERS if not filter_.passes(needs, load)), None)


def obstacles(needs: Needs, load: NodeLoad) -> list[str]:
    """Everything that keeps a task from a node: to remove the first may not be enough."""
    return [filter_.obstacle(needs, load) for filter_ in FILTERS if not filter_.passes(needs, load)]


def explain(needs: Needs, loads: Iterable[NodeLoad]) -> str:
    """Say why none of the nodes can take the task; the most frequent reason first."""
    reasons = Counter(failing for load in loads if (failing := first_failing(needs, load)) is not None)
    ordered = sorted(reasons, key=lambda failing: (-reasons[failing], FILTERS.index(failing)))
    return "; ".join(failing.explain(reasons[failing]) for failing in ordered)
