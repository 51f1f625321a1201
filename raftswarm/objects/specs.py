"""What users write: specs of services, nodes and the swarm, in Docker's own shape (Engine API 1.47).

A spec belongs to its user: the system copies it and never edits it; runtime results live in sibling fields of the
object (SWARM 1.1). Durations are nanoseconds, as in Docker. A field that is None or empty was not given.
"""

from __future__ import annotations

from typing import Any

import msgspec

from raftswarm.objects.docker_names import DockerStruct, shown

Labels = dict[str, str]


class Driver(DockerStruct, frozen=True, kw_only=True):
    """A named driver with options: logs, volumes."""

    name: str = ""
    options: Labels = {}


class BindOptions(DockerStruct, frozen=True, kw_only=True):
    """How a bind mount behaves."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeOptions(DockerStruct, frozen=True, kw_only=True):
    """How a volume mount behaves."""

    no_copy: bool = False
    labels: Labels = {}
    subpath: str = ""
    driver_config: Driver | None = None


class TmpfsOptions(DockerStruct, frozen=True, kw_only=True):
    """Size and mode of a tmpfs mount."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class Mount(DockerStruct, frozen=True, kw_only=True):
    """Something mounted into a task."""

    type: str = shown("bind")
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: dict[str, Any] | None = None


class Healthcheck(DockerStruct, frozen=True, kw_only=True):
    """How to tell that a task is healthy."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class DNSConfig(DockerStruct, frozen=True, kw_only=True):
    """Resolver settings of a task."""

    nameservers: list[str] | None = None
    search: list[str] | None = None
    options: list[str] | None = None


class FileTarget(DockerStruct, frozen=True, kw_only=True):
    """Where a secret or config appears."""

    name: str = shown("")
    uid: str = shown("")
    gid: str = shown("")
    mode: int = shown(0)


class SecretReference(DockerStruct, frozen=True, kw_only=True):
    """A secret a task uses."""

    file: FileTarget | None = None
    secret_id: str = shown("")
    secret_name: str = shown("")


class ConfigReference(DockerStruct, frozen=True, kw_only=True):
    """A config a task uses."""

    file: FileTarget | None = None
    runtime: dict[str, Any] | None = None
    config_id: str = shown("")
    config_name: str = shown("")


class Ulimit(DockerStruct, frozen=True, kw_only=True):
    """A resource limit of processes."""

    name: str = shown("")
    hard: int = shown(0)
    soft: int = shown(0)


class ContainerSpec(DockerStruct, frozen=True, kw_only=True):
    """What a task runs."""

    image: str = ""
    labels: Labels = {}
    command: list[str] | None = None
    args: list[str] | None = None
    hostname: str = ""
    env: list[str] | None = None
    dir: str = ""
    user: str = ""
    groups: list[str] | None = None
    privileges: dict[str, Any] | None = None
    init: bool | None = None
    stop_signal: str = ""
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    mounts: list[Mount] | None = None
    stop_grace_period: int | None = None
    healthcheck: Healthcheck | None = None
    hosts: list[str] | None = None
    dns_config: DNSConfig | None = None
    secrets: list[SecretReference] | None = None
    configs: list[ConfigReference] | None = None
    isolation: str = ""
    sysctls: Labels = {}
    capability_add: list[str] | None = None
    capability_drop: list[str] | None = None
    ulimits: list[Ulimit] | None = None
    oom_score_adj: int = 0


class Limits(DockerStruct, frozen=True, kw_only=True):
    """What a task may use at most."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0


class Reservations(DockerStruct, frozen=True, kw_only=True):
    """What a node must have free for a task."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    generic_resources: list[dict[str, Any]] | None = None


class Resources(DockerStruct, frozen=True, kw_only=True):
    """Limits and reservations."""

    limits: Limits | None = None
    reservations: Reservations | None = None


class RestartPolicy(DockerStruct, frozen=True, kw_only=True):
    """When a task that ended is replaced."""

    condition: str = shown("any")
    delay: int | None = None
    max_attempts: int | None = None
    window: int | None = None


class SpreadOver(DockerStruct, frozen=True, kw_only=True):
    """Spread tasks over the values of a label."""

    spread_descriptor: str = shown("")


class PlacementPreference(DockerStruct, frozen=True, kw_only=True):
    """A wish about where tasks go."""

    spread: SpreadOver | None = None


class Platform(DockerStruct, frozen=True, kw_only=True):
    """An architecture and operating system."""

    architecture: str = ""
    os: str = ""


class Placement(DockerStruct, frozen=True, kw_only=True):
    """Where tasks may go."""

    constraints: list[str] | None = None
    preferences: list[PlacementPreference] | None = None
    max_replicas: int = 0
    platforms: list[Platform] | None = None


class NetworkAttachmentConfig(DockerStruct, frozen=True, kw_only=True):
    """A network a task joins."""

    target: str = ""
    aliases: list[str] | None = None
    driver_opts: Labels = {}


class TaskSpec(DockerStruct, frozen=True, kw_only=True):
    """The template that tasks of a service are made from."""

    container_spec: ContainerSpec | None = None
    plugin_spec: dict[str, Any] | None = None
    network_attachment_spec: dict[str, Any] | None = None
    resources: Resources | None = None
    restart_policy: RestartPolicy | None = None
    placement: Placement | None = None
    networks: list[NetworkAttachmentConfig] | None = None
    log_driver: Driver | None = None
    force_update: int = shown(0)
    runtime: str = ""


class Replicated(DockerStruct, frozen=True, kw_only=True):
    """So many tasks, anywhere."""

    replicas: int | None = None


class Global(DockerStruct, frozen=True, kw_only=True):
    """One task on every node."""


class ReplicatedJob(DockerStruct, frozen=True, kw_only=True):
    """So many runs to completion."""

    max_concurrent: int | None = None
    total_completions: int | None = None


class ServiceMode(DockerStruct, frozen=True, kw_only=True):
    """Exactly one of these."""

    replicated: Replicated | None = None
    global_: Global | None = msgspec.field(default=None, name="Global")
    replicated_job: ReplicatedJob | None = None
    global_job: Global | None = None


def is_job(mode: ServiceMode) -> bool:
    """Tell whether tasks of this mode are run to their end instead of for ever."""
    return mode.replicated_job is not None or mode.global_job is not None


class UpdateConfig(DockerStruct, frozen=True, kw_only=True):
    """How an update, or a rollback, proceeds."""

    parallelism: int = shown(0)
    delay: int = 0
    failure_action: str = ""
    monitor: int = 0
    max_failure_ratio: int | float = shown(0)  # Docker writes 0, and not 0.0.
    order: str = shown("")


class PortConfig(DockerStruct, frozen=True, kw_only=True):
    """A port of a service, published on the nodes."""

    name: str = ""
    protocol: str = shown("tcp")
    target_port: int = 0
    published_port: int = 0
    publish_mode: str = shown("ingress")


class EndpointSpec(DockerStruct, frozen=True, kw_only=True):
    """How a service is reached."""

    mode: str = ""
    ports: list[PortConfig] | None = None


class ServiceSpec(DockerStruct, frozen=True, kw_only=True):
    """What a service should be."""

    name: str = ""
    labels: Labels = shown({})
    task_template: TaskSpec = shown(TaskSpec())
    mode: ServiceMode = shown(ServiceMode())
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    networks: list[NetworkAttachmentConfig] | None = None
    endpoint_spec: EndpointSpec | None = None


class NodeSpec(DockerStruct, frozen=True, kw_only=True):
    """What a node should be."""

    name: str = ""
    labels: Labels = shown({})
    role: str = shown("worker")
    """``worker`` or ``manager``."""
    availability: str = shown("active")
    """``active``, ``pause`` or ``drain``."""


class OrchestrationConfig(DockerStruct, frozen=True, kw_only=True):
    """Limits of the orchestrator."""

    task_history_retention_limit: int | None = shown(5)


class RaftConfig(DockerStruct, frozen=True, kw_only=True):
    """Timing in ticks of 100 ms, snapshots in commands."""

    snapshot_interval: int = shown(10_000)
    keep_old_snapshots: int | None = shown(0)
    log_entries_for_slow_followers: int = shown(500)
    election_tick: int = shown(10)
    heartbeat_tick: int = shown(1)


class DispatcherConfig(DockerStruct, frozen=True, kw_only=True):
    """How often agents report."""

    heartbeat_period: int = shown(5_000_000_000)


class ExternalCA(DockerStruct, frozen=True, kw_only=True):
    """A signer outside the swarm."""

    protocol: str = shown("cfssl")
    url: str = shown("", name="URL")
    options: Labels = {}
    ca_cert: str = msgspec.field(default="", name="CACert")


class CAConfig(DockerStruct, frozen=True, kw_only=True):
    """How certificates are made."""

    node_cert_expiry: int = shown(7_776_000_000_000_000)
    external_cas: list[ExternalCA] | None = msgspec.field(default=None, name="ExternalCAs")
    signing_ca_cert: str = msgspec.field(default="", name="SigningCACert")
    signing_ca_key: str = msgspec.field(default="", name="SigningCAKey")
    force_rotate: int = 0


class TaskDefaults(DockerStruct, frozen=True, kw_only=True):
    """What tasks get when their spec is silent."""

    log_driver: Driver | None = None


class EncryptionConfig(DockerStruct, frozen=True, kw_only=True):
    """Whether managers lock."""

    auto_lock_managers: bool = shown(False)


class SwarmSpec(DockerStruct, frozen=True, kw_only=True):
    """What the swarm should be; there is one, named ``default``."""

    name: str = shown("default")
    labels: Labels = shown({})
    orchestration: OrchestrationConfig = shown(OrchestrationConfig())
    raft: RaftConfig = shown(RaftConfig())
    dispatcher: DispatcherConfig = shown(DispatcherConfig())
    ca_config: CAConfig = shown(CAConfig(), name="CAConfig")
    task_defaults: TaskDefaults = shown(TaskDefaults())
    encryption_config: EncryptionConfig = shown(EncryptionConfig())
