"""Services in Docker's JSON: rendering, reading, and what is filled in on the way.

A spec is normalised once, where it enters: words in lower case, and the few fields that Docker always shows given
their value. What is stored is then what is shown, and equal wishes are equal specs.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from raftswarm.api import go_json
from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import VersionJson, parse_word
from raftswarm.api.tasks import IterationJson
from raftswarm.api.times import write_time
from raftswarm.objects import defaults, records
from raftswarm.objects.docker_names import DockerStruct, shown
from raftswarm.objects.specs import (
    ContainerSpec,
    DNSConfig,
    EndpointSpec,
    Mount,
    PortConfig,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    is_job,
)

MOUNT_TYPES: Final = ("bind", "volume", "tmpfs", "npipe", "cluster", "image")
FAILURE_ACTIONS: Final = ("pause", "continue", "rollback")
UPDATE_ORDERS: Final = ("stop-first", "start-first")
RESTART_CONDITIONS: Final = ("any", "none", "on-failure")
PROTOCOLS: Final = ("tcp", "udp", "sctp")
PUBLISH_MODES: Final = ("ingress", "host")
ENDPOINT_MODES: Final = ("vip", "dnsrr")


class VirtualIPJson(DockerStruct, frozen=True, kw_only=True):
    """A service's address in a network."""

    network_id: str = ""
    addr: str = ""


class EndpointJson(DockerStruct, frozen=True, kw_only=True):
    """How a service is reached, as allocated."""

    spec: EndpointSpec = shown(EndpointSpec())
    ports: list[PortConfig] = []
    virtual_ips: list[VirtualIPJson] = msgspec.field(default_factory=list, name="VirtualIPs")


class UpdateStatusJson(DockerStruct, frozen=True, kw_only=True):
    """Where the last update stands."""

    state: str = ""
    started_at: str = ""
    completed_at: str = ""
    message: str = ""


class ServiceStatusJson(DockerStruct, frozen=True, kw_only=True, omit_defaults=False):
    """How many tasks there are, and should be."""

    running_tasks: int = 0
    desired_tasks: int = 0
    completed_tasks: int = 0


class JobStatusJson(DockerStruct, frozen=True, kw_only=True):
    """Which run of a job is the current one, and since when."""

    job_iteration: IterationJson = shown(IterationJson())
    last_execution: str = ""


class ServiceJson(DockerStruct, frozen=True, kw_only=True):
    """``GET /services/{id}``."""

    id: str
    version: VersionJson
    created_at: str
    updated_at: str
    spec: ServiceSpec
    previous_spec: ServiceSpec | None = None
    endpoint: EndpointJson = shown(EndpointJson())
    update_status: UpdateStatusJson | None = None
    service_status: ServiceStatusJson | None = None
    job_status: JobStatusJson | None = None


def show_service(
    service: records.Service, status: ServiceStatusJson | None = None, *, insert_defaults: bool = False
) -> ServiceJson:
    """Render a service; with `insert_defaults` its spec also says what silence means."""
    return ServiceJson(
        id=service.id,
        version=VersionJson(index=service.version),
        created_at=write_time(service.created_at),
        updated_at=write_time(service.updated_at),
        spec=fill_in_defaults(service.spec) if insert_defaults else service.spec,
        previous_spec=service.previous_spec,
        endpoint=_show_endpoint(service.endpoint),
        update_status=_show_update_status(service.update_status),
        service_status=status,
        job_status=_show_job_status(service.job_status),
    )


def _show_job_status(status: records.JobStatus | None) -> JobStatusJson | None:
    if status is None:
        return None
    return JobStatusJson(
        job_iteration=IterationJson(index=status.iteration), last_execution=write_time(status.last_execution)
    )


def _show_endpoint(endpoint: records.Endpoint | None) -> EndpointJson:
    if endpoint is None:
        return EndpointJson()
    return EndpointJson(
        spec=endpoint.spec,
        ports=list(endpoint.ports),
        virtual_ips=[VirtualIPJson(network_id=network, addr=address) for network, address in endpoint.virtual_ips],
    )


def _show_update_status(status: records.UpdateStatus | None) -> UpdateStatusJson | None:
    if status is None:
        return None
    return UpdateStatusJson(
        state=status.state.value,
        started_at=write_time(status.started_at) if status.started_at else "",
        completed_at=write_time(status.completed_at) if status.completed_at else "",
        message=status.message,
    )


def fill_in_defaults(spec: ServiceSpec) -> ServiceSpec:
    """Say what an agent, orchestrator or updater takes a silent field for (``insertDefaults=true``)."""
    template = spec.task_template
    container = template.container_spec
    if container is not None:
        grace_period = container.stop_grace_period
        container = replace(
            container,
            stop_grace_period=defaults.STOP_GRACE_PERIOD if grace_period is None else grace_period,
            dns_config=container.dns_config or DNSConfig(),
        )
    restart = template.restart_policy or RestartPolicy()
    update = UpdateConfig(
        parallelism=defaults.UPDATE_PARALLELISM,
        failure_action=defaults.UPDATE_FAILURE_ACTION,
        monitor=defaults.UPDATE_MONITOR,
        order=defaults.UPDATE_ORDER,
    )
    return replace(
        spec,
        task_template=replace(
            template,
            container_spec=container,
            restart_policy=replace(
                restart,
                delay=defaults.RESTART_DELAY if restart.delay is None else restart.delay,
                max_attempts=restart.max_attempts or 0,
            ),
        ),
        update_config=_fill_in_monitor(spec.update_config) or (None if is_job(spec.mode) else update),
        rollback_config=_fill_in_monitor(spec.rollback_config) or (None if is_job(spec.mode) else update),
        endpoint_spec=spec.endpoint_spec or EndpointSpec(mode="vip"),
    )


def _fill_in_monitor(config: UpdateConfig | None) -> UpdateConfig | None:
    return config and replace(config, monitor=config.monitor or defaults.UPDATE_MONITOR)


def parse_service_spec(given: object) -> ServiceSpec:
    """Read and normalise the body of ``services/create`` or ``services/{id}/update``."""
    spec = go_json.convert(given, ServiceSpec)
    return replace(
        spec,
        task_template=_parse_template(spec.task_template),
        mode=_parse_mode(spec.mode),
        update_config=_parse_update_config(spec.update_config),
        rollback_config=_parse_update_config(spec.rollback_config),
        endpoint_spec=_parse_endpoint_spec(spec.endpoint_spec),
    )


def _parse_template(template: TaskSpec) -> TaskSpec:
    runtime = template.runtime or "container"
    if template.container_spec is None or runtime != "container":
        raise ApiError("mismatched Runtime and *Spec fields")
    restart = template.restart_policy
    if restart is not None:
        condition = restart.condition or "any"
        if condition not in RESTART_CONDITIONS:
            raise ApiError(f'invalid RestartCondition: "{condition}"')
        restart = replace(restart, condition=condition)
    return replace(
        template,
        container_spec=_parse_container(template.container_spec),
        restart_policy=restart,
        runtime=runtime,
    )


def _parse_container(container: ContainerSpec) -> ContainerSpec:
    mounts = container.mounts and [_parse_mount(mount) for mount in container.mounts]
    return replace(container, isolation=container.isolation or "default", mounts=mounts)


def _parse_mount(mount: Mount) -> Mount:
    return replace(mount, type=parse_word(mount.type or "bind", MOUNT_TYPES, 'invalid MountType: "{}"'))


def _parse_mode(mode: ServiceMode) -> ServiceMode:
    given = [part for part in (mode.replicated, mode.global_, mode.replicated_job, mode.global_job) if part is not None]
    if len(given) > 1:
        raise ApiError("must specify only one service mode")
    if mode.replicated_job is not None:
        concurrent = mode.replicated_job.max_concurrent
        concurrent = 1 if concurrent is None else concurrent
        total = mode.replicated_job.total_completions
        total = concurrent if total is None else total
        return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=total))
    if mode.global_ is not None or mode.global_job is not None:
        return mode
    replicas = mode.replicated.replicas if mode.replicated else None
    return ServiceMode(replicated=Replicated(replicas=1 if replicas is None else replicas))


def _parse_update_config(config: UpdateConfig | None) -> UpdateConfig | None:
    if config is None:
        return None
    action = config.failure_action or "pause"
    order = config.order or "stop-first"
    if action not in FAILURE_ACTIONS:
        raise ApiError(f"unrecognized update failure action {action}")
    if order not in UPDATE_ORDERS:
        raise ApiError(f"unrecognized update order {order}")
    return replace(config, failure_action=action, order=order)


def _parse_endpoint_spec(spec: EndpointSpec | None) -> EndpointSpec | None:
    if spec is None:
        return None
    mode = parse_word(spec.mode or "vip", ENDPOINT_MODES, 'invalid ResolutionMode: "{}"')
    return EndpointSpec(mode=mode, ports=spec.ports and [_parse_port(port) for port in spec.ports])


def _parse_port(port: PortConfig) -> PortConfig:
    for number in (port.target_port, port.published_port):
        if not 0 <= number <= 65535:
            raise ApiError(f"invalid port {number}: must be between 0 and 65535")
    return replace(
        port,
        protocol=parse_word(port.protocol or "tcp", PROTOCOLS, 'invalid port protocol: "{}"'),
        publish_mode=parse_word(port.publish_mode or "ingress", PUBLISH_MODES, 'invalid port publish mode: "{}"'),
    )
