"""Published ports: one space per protocol for the whole swarm, the automatic ones handed out in turn (SWARM 6.4).

A port is not given again soon after it was freed, so that clients of the old service do not end up at the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final, TypeAlias

import attrs
from msgspec import structs

from raftswarm.objects.records import Service
from raftswarm.objects.specs import EndpointSpec, PortConfig
from raftswarm.objects.tasks import endpoint_spec

FIRST: Final = 30000
LAST: Final = 32767

Port: TypeAlias = tuple[str, int]
"""Protocol and number."""


class PortsTaken(Exception):
    """A service cannot have its ports now."""


@attrs.frozen
class PortSpace:
    """Which ports are taken, and by which service; where the search for the next automatic one begins."""

    owners: Mapping[Port, str] = attrs.field(factory=dict)
    latest: Mapping[str, int] = attrs.field(factory=dict)
    """The last automatic port given, by protocol."""

    @classmethod
    def of(cls, services: Iterable[Service], latest: Mapping[str, int]) -> PortSpace:
        """Read it from the services that have been allocated."""
        owners = {
            _port(port): service.id
            for service in services
            if service.endpoint is not None
            for port in service.endpoint.ports
            if is_ingress(port)
        }
        return cls(owners, latest)

    def allocate(self, service: Service, wanted: EndpointSpec) -> tuple[tuple[PortConfig, ...], PortSpace]:
        """Return the service's ports, and the space once it has them; all of them, or `PortsTaken`."""
        owners = {port: owner for port, owner in self.owners.items() if owner != service.id}
        latest = dict(self.latest)
        ports = list(wanted.ports or ())
        # What users chose comes first: an automatic port must not take it away.
        for port in filter(_is_chosen, ports):
            if _port(port) in owners:
                raise PortsTaken(f"port '{port.published_port}' is already in use by service {owners[_port(port)]}")
            owners[_port(port)] = service.id
        before = _automatic_ports(service)
        allocated = []
        for port in ports:
            if is_ingress(port) and not port.published_port:
                number = before.get(_identity(port), 0)
                if not number or (port.protocol, number) in owners:
                    number = _next_free(port.protocol, owners, latest)
                owners[port.protocol, number] = service.id
                allocated.append(structs.replace(port, published_port=number))
            else:
                allocated.append(port)
        return tuple(allocated), PortSpace(owners, latest)


def is_ingress(port: PortConfig) -> bool:
    """Tell whether every node publishes the port; the others are each node's own affair."""
    return port.publish_mode == "ingress"


def _is_chosen(port: PortConfig) -> bool:
    return is_ingress(port) and bool(port.published_port)


def _port(port: PortConfig) -> Port:
    return port.protocol, port.published_port


def _identity(port: PortConfig) -> tuple[str, str, int]:
    return port.name, port.protocol, port.target_port


def _automatic_ports(service: Service) -> dict[tuple[str, str, int], int]:
    """The ports the service was given before: it keeps them as long as it asks for the like."""
    if service.endpoint is None:
        return {}
    chosen = {_port(port) for port in service.endpoint.spec.ports or () if _is_chosen(port)}
    return {
        _identity(port): port.published_port
        for port in service.endpoint.ports
        if is_ingress(port) and _port(port) not in chosen
    }


def _next_free(protocol: str, owners: Mapping[Port, str], latest: dict[str, int]) -> int:
    after = latest.get(protocol, FIRST - 1)
    for number in chain(range(after + 1, LAST + 1), range(FIRST, after + 1)):
        if (protocol, number) not in owners:
            latest[protocol] = number
            return number
    raise PortsTaken(f"no {protocol} port between {FIRST} and {LAST} is free")


def is_allocated(service: Service) -> bool:
    """Tell whether a service has the endpoint its spec asks for; one that publishes nothing needs none."""
    wanted = endpoint_spec(service)
    if service.endpoint is None:
        return not wanted.ports
    return service.endpoint.spec == wanted
