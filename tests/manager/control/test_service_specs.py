"""Which specs are accepted, and the words for those that are not (SWARM 14)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.service_specs import accept_service_spec
from raftswarm.objects.specs import (
    ConfigReference,
    ContainerSpec,
    EndpointSpec,
    Global,
    Healthcheck,
    Limits,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    SecretReference,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)

CONTAINER = ContainerSpec(image="nginx")
NESTED: dict[str, Any] = {}
for _ in range(100):
    NESTED = {"deeper": NESTED}


def make_spec(**changes: Any) -> ServiceSpec:
    return replace(ServiceSpec(name="web", task_template=TaskSpec(container_spec=CONTAINER)), **changes)


def task(**changes: Any) -> ServiceSpec:
    return make_spec(task_template=TaskSpec(**{"container_spec": CONTAINER, **changes}))


def container(**changes: Any) -> ServiceSpec:
    return task(container_spec=replace(CONTAINER, **changes))


def ports(*ports: PortConfig, mode: str = "vip") -> ServiceSpec:
    return make_spec(endpoint_spec=EndpointSpec(mode=mode, ports=list(ports)))


def test_a_service_is_replicated_once_unless_it_says_otherwise() -> None:
    assert accept_service_spec(make_spec()).mode == ServiceMode(replicated=Replicated(replicas=1))
    assert accept_service_spec(make_spec(mode=ServiceMode(replicated=Replicated()))).mode == ServiceMode(
        replicated=Replicated(replicas=1)
    )
    none = ServiceMode(replicated=Replicated(replicas=0))
    assert accept_service_spec(make_spec(mode=none)).mode == none


@pytest.mark.parametrize(
    "spec",
    [
        make_spec(name="a" * 63),
        make_spec(name="a_-b"),
        make_spec(mode=ServiceMode(global_=Global())),
        ports(
            PortConfig(target_port=80, published_port=80), PortConfig(target_port=80, published_port=80, protocol="udp")
        ),
        ports(PortConfig(target_port=80), PortConfig(target_port=80)),
        ports(PortConfig(target_port=80, published_port=80, publish_mode="host"), mode="dnsrr"),
        task(resources=Resources(limits=Limits(nano_cpus=1_000_000, memory_bytes=4 * 1024 * 1024))),
        task(placement=Placement(constraints=["node.nosuchkey==x"])),
    ],
)
def test_what_swarmkit_accepts_is_accepted(spec: ServiceSpec) -> None:
    accept_service_spec(spec)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        (make_spec(name=""), "InvalidArgument", "meta: name must be provided"),
        (make_spec(name="_bad_"), "InvalidArgument", "name must be valid as a DNS name component"),
        (make_spec(name="a.b"), "InvalidArgument", "name must be valid as a DNS name component"),
        (make_spec(name="web\n"), "InvalidArgument", "name must be valid as a DNS name component"),
        (make_spec(name="a" * 64), "InvalidArgument", "name must be 63 characters or fewer"),
        (make_spec(name="a" + "-" * 5000 + "!"), "InvalidArgument", "name must be valid as a DNS name component"),
        (task(container_spec=None), "InvalidArgument", "RuntimeSpec: missing runtime in service spec"),
        (task(runtime="plugin"), "Unimplemented", "RuntimeSpec: unimplemented runtime in service spec"),
        (container(image=""), "InvalidArgument", "ContainerSpec: image reference must be provided"),
        (
            container(image="UPPER/Case"),
            "InvalidArgument",
            'ContainerSpec: "UPPER/Case" is not a valid repository/tag',
        ),
        (
            container(mounts=[Mount(target="/x"), Mount(target="/x")]),
            "InvalidArgument",
            "ContainerSpec: duplicate mount point: /x",
        ),
        (
            container(healthcheck=Healthcheck(interval=999_999)),
            "InvalidArgument",
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (
            container(healthcheck=Healthcheck(retries=-1)),
            "InvalidArgument",
            "ContainerSpec: Retries in HealthConfig cannot be negative",
        ),
        (
            container(secrets=[SecretReference(secret_name="a"), SecretReference(secret_name="b")]),
            "InvalidArgument",
            "secrets not found: a, b",
        ),
        (container(configs=[ConfigReference(config_name="a")]), "InvalidArgument", "config not found: a"),
        (
            task(resources=Resources(limits=Limits(memory_bytes=1024))),
            "InvalidArgument",
            "invalid memory value 1024: Must be at least 4MiB",
        ),
        (
            task(resources=Resources(reservations=Reservations(nano_cpus=100_000))),
            "InvalidArgument",
            "invalid cpu value 0.0001: Must be at least 0.001",
        ),
        (
            task(restart_policy=RestartPolicy(delay=-1)),
            "InvalidArgument",
            "TaskSpec: restart-delay cannot be negative",
        ),
        (
            task(placement=Placement(constraints=["node.role=manager"])),
            "Unknown",
            "constraint expected one operator from ==, !=",
        ),
        (task(networks=[NetworkAttachmentConfig(target="net")]), "NotFound", "network net not found"),
        (
            make_spec(mode=ServiceMode(global_=Global(), replicated=Replicated())),
            "InvalidArgument",
            "must specify only one service mode",
        ),
        (
            make_spec(mode=ServiceMode(global_job=Global()), update_config=UpdateConfig()),
            "InvalidArgument",
            "Jobs may not have an update config",
        ),
        (
            make_spec(mode=ServiceMode(replicated_job=ReplicatedJob(max_concurrent=-1))),
            "InvalidArgument",
            "Maximum concurrent jobs must not be negative",
        ),
        (
            make_spec(mode=ServiceMode(replicated_job=ReplicatedJob(total_completions=-1))),
            "InvalidArgument",
            "Total completed jobs must not be negative",
        ),
        (
            make_spec(mode=ServiceMode(replicated=Replicated(replicas=-1))),
            "InvalidArgument",
            "Number of replicas must be non-negative",
        ),
        (
            make_spec(update_config=UpdateConfig(max_failure_ratio=1.5)),
            "InvalidArgument",
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            make_spec(rollback_config=UpdateConfig(delay=-1)),
            "InvalidArgument",
            "TaskSpec: update-delay cannot be negative",
        ),
        (
            ports(PortConfig(target_port=80, published_port=80), mode="dnsrr"),
            "InvalidArgument",
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            ports(PortConfig(target_port=80, published_port=7778), PortConfig(target_port=81, published_port=7778)),
            "InvalidArgument",
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            ports(PortConfig(target_port=80, published_port=70_000)),
            "InvalidArgument",
            "EndpointSpec: ports go from 1 to 65535",
        ),
        (container(privileges=NESTED), "InvalidArgument", "the spec is nested more than 32 levels deep"),
    ],
)
def test_what_cannot_succeed_is_refused_in_swarmkits_words(spec: ServiceSpec, code: str, message: str) -> None:
    with pytest.raises(RequestRefused, match=f"^{re.escape(message)}$") as refused:
        accept_service_spec(spec)

    assert refused.value.code == code
