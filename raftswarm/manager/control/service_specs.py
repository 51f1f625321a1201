"""Which specs of services are accepted, in SwarmKit's words and order (SWARM 14).

What can never be carried out here yet (networks, secrets, configs) is refused rather than accepted and ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from raftswarm.errors import InvalidSpec, RequestRefused
from raftswarm.manager.control.image_names import is_image_name
from raftswarm.manager.control.refusals import invalid, no_match, unimplemented
from raftswarm.objects.constraints import parse_constraints
from raftswarm.objects.specs import (
    ContainerSpec,
    EndpointSpec,
    Healthcheck,
    Limits,
    Replicated,
    ReplicatedJob,
    Reservations,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    is_job,
)

MIN_NANO_CPUS: Final = 1_000_000
MIN_MEMORY_BYTES: Final = 4 * 1024 * 1024
MAX_NAME: Final = 63
MAX_PORT: Final = 65_535
MAX_NESTING: Final = 32
_MILLISECOND: Final = 1_000_000
# SwarmKit's pattern, without its repetition inside a repetition.
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")


def accept_service_spec(spec: ServiceSpec) -> ServiceSpec:
    """Return the spec as it is stored: with a mode, and a replicated one with a number; or refuse it."""
    _check_nesting(spec)
    _check_name(spec.name)
    _check_task_spec(spec.task_template)
    if spec.networks:
        raise no_match("network", spec.networks[0].target)
    mode = _accept_mode(spec.mode)
    if spec.update_config is not None and is_job(mode):
        raise invalid("Jobs may not have an update config")
    _check_update_config(spec.update_config)
    _check_update_config(spec.rollback_config)
    if spec.endpoint_spec is not None:
        _check_endpoint_spec(spec.endpoint_spec)
    return replace(spec, mode=mode)


def mode_name(mode: ServiceMode) -> str:
    """The word for a mode in filters and messages."""
    if mode.global_ is not None:
        return "global"
    if mode.replicated_job is not None:
        return "replicated-job"
    return "global-job" if mode.global_job is not None else "replicated"


def _check_nesting(spec: ServiceSpec) -> None:
    # Parts of a spec are any JSON. Decoding gives up on deep nesting, at a depth that differs between members.
    level: list[Any] = [msgspec.to_builtins(spec)]
    for _ in range(MAX_NESTING):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise invalid(f"the spec is nested more than {MAX_NESTING} levels deep")


def _children(parent: Any) -> Iterable[Any]:
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()


def _check_name(name: str) -> None:
    if not name:
        raise invalid("meta: name must be provided")
    if not _NAME.fullmatch(name):
        raise invalid("name must be valid as a DNS name component")
    if len(name) > MAX_NAME:
        raise invalid("name must be 63 characters or fewer")


def _check_task_spec(spec: TaskSpec) -> None:
    if spec.resources is not None:
        _check_resources(spec.resources.limits)
        _check_resources(spec.resources.reservations)
    if spec.restart_policy is not None:
        _check_restart_policy(spec.restart_policy)
    if spec.placement is not None:
        try:
            parse_constraints(spec.placement.constraints or ())
        except InvalidSpec as error:
            raise RequestRefused(str(error), code="Unknown") from error
    if spec.networks:
        raise no_match("network", spec.networks[0].target)
    if spec.runtime not in {"", "container"} or spec.plugin_spec or spec.network_attachment_spec:
        raise unimplemented("RuntimeSpec: unimplemented runtime in service spec")
    if spec.container_spec is None:
        raise invalid("RuntimeSpec: missing runtime in service spec")
    _check_container_spec(spec.container_spec)


def _check_resources(resources: Limits | Reservations | None) -> None:
    if resources is None:
        return
    if resources.nano_cpus and resources.nano_cpus < MIN_NANO_CPUS:
        raise invalid(f"invalid cpu value {resources.nano_cpus / 1e9!r}: Must be at least 0.001")
    if resources.memory_bytes and resources.memory_bytes < MIN_MEMORY_BYTES:
        raise invalid(f"invalid memory value {resources.memory_bytes}: Must be at least 4MiB")


def _check_restart_policy(policy: RestartPolicy) -> None:
    if policy.condition not in {"", "none", "on-failure", "any"}:
        raise invalid(f"invalid RestartCondition: {policy.condition!r}".replace("'", '"'))
    for name, value in (("delay", policy.delay), ("max-attempts", policy.max_attempts), ("window", policy.window)):
        if value is not None and value < 0:
            raise invalid(f"TaskSpec: restart-{name} cannot be negative")


def _check_container_spec(spec: ContainerSpec) -> None:
    if not spec.image:
        raise invalid("ContainerSpec: image reference must be provided")
    if not is_image_name(spec.image):
        raise invalid(f'ContainerSpec: "{spec.image}" is not a valid repository/tag')
    targets: dict[str, None] = {}
    for mount in spec.mounts or ():
        if mount.target in targets:
            raise invalid(f"ContainerSpec: duplicate mount point: {mount.target}")
        targets[mount.target] = None
    if spec.healthcheck is not None:
        _check_healthcheck(spec.healthcheck)
    if spec.stop_grace_period is not None and spec.stop_grace_period < 0:
        raise invalid("ContainerSpec: StopGracePeriod cannot be negative")
    _check_missing("secret", [secret.secret_name for secret in spec.secrets or ()])
    _check_missing("config", [config.config_name for config in spec.configs or ()])


def _check_healthcheck(healthcheck: Healthcheck) -> None:
    for name, value in (
        ("Interval", healthcheck.interval),
        ("Timeout", healthcheck.timeout),
        ("StartPeriod", healthcheck.start_period),
        ("StartInterval", healthcheck.start_interval),
    ):
        if value and value < _MILLISECOND:
            raise invalid(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if healthcheck.retries < 0:
        raise invalid("ContainerSpec: Retries in HealthConfig cannot be negative")


def _check_missing(kind: str, names: list[str]) -> None:
    if names:
        raise invalid(f"{kind if len(names) == 1 else kind + 's'} not found: {', '.join(names)}")


def _accept_mode(mode: ServiceMode) -> ServiceMode:
    given = [part for part in (mode.replicated, mode.global_, mode.replicated_job, mode.global_job) if part is not None]
    if len(given) > 1:
        raise invalid("must specify only one service mode")
    if mode.replicated_job is not None:
        return ServiceMode(replicated_job=_accept_job(mode.replicated_job))
    if mode.global_ is not None or mode.global_job is not None:
        return mode
    replicas = mode.replicated.replicas if mode.replicated is not None else None
    if replicas is None:
        return ServiceMode(replicated=Replicated(replicas=1))
    if replicas < 0:
        raise invalid("Number of replicas must be non-negative")
    return mode


def _accept_job(job: ReplicatedJob) -> ReplicatedJob:
    concurrent = 1 if job.max_concurrent is None else job.max_concurrent
    total = concurrent if job.total_completions is None else job.total_completions
    if concurrent < 0:
        raise invalid("Maximum concurrent jobs must not be negative")
    if total < 0:
        raise invalid("Total completed jobs must not be negative")
    return ReplicatedJob(max_concurrent=concurrent, total_completions=total)


def _check_update_config(config: UpdateConfig | None) -> None:
    if config is None:
        return
    if config.failure_action not in {"", "pause", "continue", "rollback"}:
        raise invalid(f"unrecognized update failure action {config.failure_action}")
    if config.order not in {"", "stop-first", "start-first"}:
        raise invalid(f"unrecognized update order {config.order}")
    for name, value in (("parallelism", config.parallelism), ("delay", config.delay), ("monitor", config.monitor)):
        if value < 0:
            raise invalid(f"TaskSpec: update-{name} cannot be negative")
    if not 0 <= config.max_failure_ratio <= 1:
        raise invalid("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")


def _check_endpoint_spec(spec: EndpointSpec) -> None:
    if spec.mode not in {"", "vip", "dnsrr"}:
        raise invalid(f"EndpointSpec: unknown mode {spec.mode}")
    published: dict[tuple[int, str], None] = {}
    for port in spec.ports or ():
        if port.publish_mode not in {"ingress", "host"}:
            raise invalid(f"EndpointSpec: unknown publish mode {port.publish_mode}")
        if port.protocol not in {"tcp", "udp", "sctp"}:
            raise invalid(f"EndpointSpec: unknown protocol {port.protocol}")
        if not (0 < port.target_port <= MAX_PORT and 0 <= port.published_port <= MAX_PORT):
            raise invalid(f"EndpointSpec: ports go from 1 to {MAX_PORT}")
        if spec.mode == "dnsrr" and port.publish_mode == "ingress":
            raise invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
        if port.published_port == 0:
            continue  # One will be found that is free.
        key = (port.published_port, port.protocol)
        if key in published:
            raise invalid("EndpointSpec: duplicate published ports provided")
        published[key] = None
