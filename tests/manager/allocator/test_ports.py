"""Published ports (SWARM 6.4)."""

from __future__ import annotations

import pytest

from raftswarm.manager.allocator.ports import FIRST, LAST, PortSpace, PortsTaken, is_allocated
from raftswarm.objects.records import Endpoint, Service
from raftswarm.objects.specs import EndpointSpec, PortConfig, ServiceSpec


def make_service(name: str = "web", *, wanted: EndpointSpec | None = None, endpoint: Endpoint | None = None) -> Service:
    return Service(id=name, spec=ServiceSpec(name=name, endpoint_spec=wanted), endpoint=endpoint)


def port(target: int = 80, published: int = 0, protocol: str = "tcp", mode: str = "ingress") -> PortConfig:
    return PortConfig(target_port=target, published_port=published, protocol=protocol, publish_mode=mode)


def allocate(space: PortSpace, *ports: PortConfig, service: Service | None = None) -> tuple[list[int], PortSpace]:
    allocated, after = space.allocate(service or make_service(), EndpointSpec(ports=list(ports)))
    return [config.published_port for config in allocated], after


def test_automatic_ports_are_handed_out_in_turn_per_protocol() -> None:
    numbers, _ = allocate(PortSpace(), port(80), port(81), port(82, protocol="udp"))

    assert numbers == [FIRST, FIRST + 1, FIRST]


def test_a_port_that_was_freed_is_not_given_again_soon() -> None:
    (first,), space = allocate(PortSpace(), port())
    free_again = PortSpace({}, space.latest)

    (second,), _ = allocate(free_again, port(), service=make_service("other"))

    assert (first, second) == (FIRST, FIRST + 1)


def test_the_turn_wraps_around_and_skips_what_is_taken() -> None:
    space = PortSpace({("tcp", FIRST): "other"}, {"tcp": LAST})

    assert allocate(space, port())[0] == [FIRST + 1]


def test_when_none_is_left_the_service_gets_nothing() -> None:
    space = PortSpace({("tcp", number): "other" for number in range(FIRST, LAST + 1)})

    with pytest.raises(PortsTaken, match="no tcp port between 30000 and 32767 is free"):
        allocate(space, port())


def test_a_chosen_port_is_given_if_it_is_free() -> None:
    space = PortSpace({("udp", 80): "other"})

    assert allocate(space, port(published=80))[0] == [80]
    with pytest.raises(PortsTaken, match="port '80' is already in use by service other"):
        allocate(space, port(published=80, protocol="udp"))


def test_a_chosen_port_in_the_automatic_range_is_taken_there_too() -> None:
    numbers, _ = allocate(PortSpace(), port(80), port(81, published=FIRST))

    assert numbers == [FIRST + 1, FIRST]


def test_ports_in_host_mode_are_passed_through() -> None:
    space = PortSpace({("tcp", 80): "other"})

    assert allocate(space, port(published=80, mode="host"), port(mode="host"))[0] == [80, 0]


def test_an_automatic_port_stays_when_others_come_and_go() -> None:
    had = Endpoint(
        spec=EndpointSpec(ports=[port(80), port(81)]), ports=(port(80, published=30007), port(81, published=30008))
    )
    service = make_service(endpoint=had)
    space = PortSpace.of([service], {})

    numbers, _ = allocate(space, port(443), port(81), service=service)

    assert numbers == [FIRST, 30008]


def test_a_port_that_was_chosen_is_given_back_when_it_is_chosen_no_more() -> None:
    had = Endpoint(spec=EndpointSpec(ports=[port(80, published=8080)]), ports=(port(80, published=8080),))
    service = make_service(endpoint=had)

    numbers, space = allocate(PortSpace.of([service], {}), port(80), service=service)

    assert numbers == [FIRST]
    assert ("tcp", 8080) not in space.owners


def test_a_service_may_keep_its_own_port() -> None:
    had = Endpoint(spec=EndpointSpec(ports=[port(80, published=80)]), ports=(port(80, published=80),))
    service = make_service(endpoint=had)

    numbers, _ = allocate(PortSpace.of([service], {}), port(80, published=80), port(81), service=service)

    assert numbers == [80, FIRST]


def test_a_service_is_allocated_when_its_endpoint_is_what_its_spec_asks_for() -> None:
    wanted = EndpointSpec(ports=[port(80)])

    assert is_allocated(make_service())
    assert is_allocated(make_service(wanted=EndpointSpec(mode="vip")))
    assert not is_allocated(make_service(wanted=wanted))
    assert is_allocated(make_service(wanted=wanted, endpoint=Endpoint(spec=wanted)))
    assert not is_allocated(make_service(endpoint=Endpoint(spec=wanted)))


def test_an_automatic_port_is_given_up_where_another_service_has_it() -> None:
    had = Endpoint(spec=EndpointSpec(ports=[port()]), ports=(port(published=FIRST),))
    service = make_service(wanted=EndpointSpec(ports=[port()]), endpoint=had)
    space = PortSpace({("tcp", FIRST): "other"})

    assert allocate(space, port(), service=service)[0] == [FIRST + 1]
