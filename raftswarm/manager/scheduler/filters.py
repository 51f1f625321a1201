"""Which nodes can take a task, and why the others cannot: the filters in their order, and their words (SWARM 5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from raftswarm.manager.scheduler.ledger import NodeLoad, Port, host_ports
from raftswarm.objects.constraints import Constraint, node_matches, parse_constraints
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


FILTERS: Final = (
    Filter(_is_ready, "1 node not available for new tasks", "{} nodes not available for new tasks"),
    Filter(_has_resources, "insufficient resources on 1 node", "insufficient resources on {} nodes"),
    Filter(_has_plugins, "missing plugin on 1 node", "missing plugin on {} nodes"),
    Filter(
        _meets_constraints,
        "scheduling constraints not satisfied on 1 node",
        "scheduling constraints not satisfied on {} nodes",
    ),
    Filter(_is_supported, "unsupported platform on 1 node", "unsupported platform on {} nodes"),
    Filter(_has_ports, "host-mode port already in use on 1 node", "host-mode port already in use on {} nodes"),
    Filter(_has_room_for_replica, "max replicas per node limit exceed", "max replicas per node limit exceed"),
)


def first_failing(needs: Needs, load: NodeLoad) -> Filter | None:
    """The filter that keeps a node out; None if it can take the task."""
    return next((filter_ for filter_ in FILTERS if not filter_.passes(needs, load)), None)


def explain(needs: Needs, loads: Iterable[NodeLoad]) -> str:
    """Say why none of the nodes can take the task; the most frequent reason first."""
    reasons = Counter(failing for load in loads if (failing := first_failing(needs, load)) is not None)
    ordered = sorted(reasons, key=lambda failing: (-reasons[failing], FILTERS.index(failing)))
    return "; ".join(failing.explain(reasons[failing]) for failing in ordered)
