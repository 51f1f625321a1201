"""Published ports under services that come, change and go (SWARM 6.4): no two services ever have the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from raftswarm.manager.allocator.ports import PortSpace, PortsTaken
from raftswarm.objects.records import Endpoint, Service
from raftswarm.objects.specs import EndpointSpec, PortConfig, ServiceSpec

PORTS = st.lists(
    st.builds(
        PortConfig,
        target_port=st.sampled_from([80, 81]),
        published_port=st.sampled_from([0, 0, 80, 30000, 30001, 30002]),
        protocol=st.sampled_from(["tcp", "udp"]),
        publish_mode=st.sampled_from(["ingress", "ingress", "host"]),
    ),
    max_size=3,
    unique_by=lambda port: (port.protocol, port.target_port),
)
"""Few, so that services want the same; some are those that automatic ones would get."""


def published(service: Service) -> list[tuple[str, int]]:
    endpoint = service.endpoint
    ports = endpoint.ports if endpoint is not None else ()
    return [(port.protocol, port.published_port) for port in ports if port.publish_mode == "ingress"]


@given(steps=st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), PORTS)), max_size=12))
def test_no_two_services_have_one_port_and_each_has_what_it_chose(
    steps: list[tuple[str, list[PortConfig] | None]],
) -> None:
    """A service wants other ports, or None: it is removed. The space is kept, or read anew as by a new leader."""
    services: dict[str, Service] = {}
    space = PortSpace()
    for name, ports in steps:
        if ports is None:
            services.pop(name, None)
            space = PortSpace.of(services.values(), space.latest)
            continue
        service = services.get(name, Service(id=name, spec=ServiceSpec(name=name)))
        wanted = EndpointSpec(ports=ports)
        others = {port for other in services.values() if other.id != name for port in published(other)}
        chosen = [(port.protocol, port.published_port) for port in ports if port.publish_mode == "ingress"]
        chosen = [port for port in chosen if port[1]]
        is_free = others.isdisjoint(chosen) and len({*chosen}) == len(chosen)
        try:
            allocated, space = space.allocate(service, wanted)
        except PortsTaken:
            assert not is_free, "what nobody else has is given"
            continue
        assert is_free, "what somebody else has is refused"
        services[name] = service = replace(service, endpoint=Endpoint(spec=wanted, ports=allocated))
        assert {*chosen} <= {*published(service)}
        assert all(number for _, number in published(service))
        everybodys = [port for one in services.values() for port in published(one)]
        assert len({*everybodys}) == len(everybodys), "one port, one service"
        assert space.owners == PortSpace.of(services.values(), space.latest).owners
