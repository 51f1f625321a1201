"""Service specs are normalised where they enter, as the Docker Engine does (SWARM 15)."""

from __future__ import annotations

from typing import Any

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.api.services import fill_in_defaults, parse_service_spec
from raftswarm.objects.specs import DNSConfig, EndpointSpec, UpdateConfig


def body(**fields: Any) -> dict[str, Any]:
    return {"TaskTemplate": {"ContainerSpec": {"Image": "web"}}, **fields}


def test_a_minimal_spec_gets_what_docker_always_shows() -> None:
    spec = parse_service_spec(body(Name="min"))

    assert spec.mode.replicated is not None
    assert spec.mode.replicated.replicas == 1
    assert spec.task_template.runtime == "container"
    assert spec.task_template.container_spec is not None
    assert spec.task_template.container_spec.isolation == "default"
    assert spec.update_config is None
    assert spec.endpoint_spec is None


def test_words_and_ports_are_normalised() -> None:
    ports = [{"TargetPort": 80, "Protocol": "UDP"}, {"TargetPort": 81, "PublishMode": "host"}]
    spec = parse_service_spec(body(EndpointSpec={"Ports": ports}, UpdateConfig={"Parallelism": 2}))

    assert spec.endpoint_spec is not None
    assert spec.endpoint_spec.mode == "vip"
    assert spec.endpoint_spec.ports is not None
    assert [(port.protocol, port.publish_mode) for port in spec.endpoint_spec.ports] == [
        ("udp", "ingress"),
        ("tcp", "host"),
    ]
    assert spec.update_config == UpdateConfig(parallelism=2, failure_action="pause", order="stop-first")


def test_a_job_without_numbers_runs_once() -> None:
    job = parse_service_spec(body(Mode={"ReplicatedJob": {"MaxConcurrent": 3}})).mode.replicated_job

    assert job is not None
    assert (job.max_concurrent, job.total_completions) == (3, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Mode": {"Replicated": {}, "Global": {}}}, "must specify only one service mode"),
        ({"TaskTemplate": {}}, "mismatched Runtime and *Spec fields"),
        (
            {"TaskTemplate": {"ContainerSpec": {}, "Runtime": "plugin"}},
            "mismatched Runtime and *Spec fields",
        ),
        ({"UpdateConfig": {"FailureAction": "explode"}}, "unrecognized update failure action explode"),
        ({"RollbackConfig": {"Order": "x"}}, "unrecognized update order x"),
        ({"EndpointSpec": {"Mode": "x"}}, 'invalid ResolutionMode: "x"'),
        ({"EndpointSpec": {"Ports": [{"TargetPort": 70000}]}}, "invalid port 70000: must be between 0 and 65535"),
        ({"EndpointSpec": {"Ports": [{"Protocol": "x"}]}}, 'invalid port protocol: "x"'),
    ],
)
def test_a_spec_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_service_spec(body(**fields))

    assert (refusal.value.status, refusal.value.message) == (400, words)


def test_silence_is_filled_in_and_what_was_said_is_kept() -> None:
    filled = fill_in_defaults(parse_service_spec(body(UpdateConfig={"Parallelism": 0, "Monitor": 7})))

    container = filled.task_template.container_spec
    assert container is not None
    assert container.stop_grace_period == 10_000_000_000
    assert container.dns_config == DNSConfig()
    restart = filled.task_template.restart_policy
    assert restart is not None
    assert (restart.condition, restart.delay, restart.max_attempts) == ("any", 5_000_000_000, 0)
    assert filled.update_config == UpdateConfig(monitor=7, failure_action="pause", order="stop-first")
    assert filled.rollback_config == UpdateConfig(
        parallelism=1, monitor=5_000_000_000, failure_action="pause", order="stop-first"
    )
    assert filled.endpoint_spec == EndpointSpec(mode="vip")
