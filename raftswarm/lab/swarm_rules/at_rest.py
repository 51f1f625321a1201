"""A swarm at rest: nothing has changed for a while, and nobody is about to change anything (rules 31 to 41).

Then every service has what its user wants, as far as the nodes allow, and each record beyond has a reason (SWARM 4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import attrs

from raftswarm.lab.swarm_rules.picture import Picture
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.tasks import age, endpoint_spec


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
    service_id: str = ""
    """The one service that is looked at; all if there is none."""

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """Those that should be at rest."""
        return tuple(service for _, service in sorted(self.picture.services.items()) if self._counts(service.id))

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Those of services that should be at rest, or that are gone."""
        return tuple(task for _, task in sorted(self.picture.tasks.items()) if self._counts(task.service_id))

    def _counts(self, service_id: str) -> bool:
        return service_id not in self.facts.failing and self.service_id in {"", service_id}

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


def has_its_ports(service: Service) -> bool:
    """Tell whether the allocator has given it what its user asks for."""
    wanted = endpoint_spec(service)
    return not wanted.ports if service.endpoint is None else service.endpoint.spec == wanted


def state_of(node: Node | None) -> str:
    """Name a node's state in a sentence."""
    return f"{node.state.value} ({node.spec.availability})" if node is not None else "gone"
