"""``GET /version`` and ``GET /info`` in Docker's JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from raftswarm.api.swarm import ClusterJson
from raftswarm.objects.docker_names import DockerStruct, shown


class PlatformJson(DockerStruct, frozen=True, kw_only=True):
    """The product's name."""

    name: str = shown("")


class ComponentJson(DockerStruct, frozen=True, kw_only=True):
    """A part of the engine; `docker version` reads the first."""

    name: str
    version: str
    details: dict[str, str] = {}


class VersionInfoJson(DockerStruct, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /version``."""

    platform: PlatformJson
    components: list[ComponentJson]
    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion")
    git_commit: str = ""
    go_version: str = ""
    os: str = msgspec.field(default="linux", name="Os")
    arch: str = ""
    kernel_version: str = ""
    build_time: str = ""


class RemoteManagerJson(DockerStruct, frozen=True, kw_only=True):
    """A manager this node knows."""

    node_id: str
    addr: str


class SwarmInfoJson(DockerStruct, frozen=True, kw_only=True):
    """The swarm as this node sees it."""

    node_id: str = shown("")
    node_addr: str = shown("")
    local_node_state: str = shown("inactive")
    control_available: bool = shown(False)
    error: str = shown("")
    remote_managers: list[RemoteManagerJson] | None = shown(None)
    nodes: int = 0
    managers: int = 0
    cluster: ClusterJson | None = None
    warnings: list[str] = []


class InfoJson(DockerStruct, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /info``: the Swarm section, and as much of the rest as is true of this engine."""

    id: str
    containers: int = 0
    containers_running: int = 0
    containers_paused: int = 0
    containers_stopped: int = 0
    images: int = 0
    driver: str = ""
    driver_status: list[list[str]] = []
    plugins: dict[str, list[str] | None] = {}
    memory_limit: bool = True
    swap_limit: bool = True
    cpu_cfs_period: bool = True
    cpu_cfs_quota: bool = True
    cpu_shares: bool = msgspec.field(default=True, name="CPUShares")
    cpu_set: bool = msgspec.field(default=True, name="CPUSet")
    pids_limit: bool = True
    ipv4_forwarding: bool = msgspec.field(default=True, name="IPv4Forwarding")
    debug: bool = False
    n_fd: int = msgspec.field(default=0, name="NFd")
    oom_kill_disable: bool = False
    n_goroutines: int = 0
    system_time: str = ""
    logging_driver: str = ""
    cgroup_driver: str = "none"
    cgroup_version: str = ""
    n_events_listener: int = 0
    kernel_version: str = ""
    operating_system: str = ""
    os_version: str = msgspec.field(default="", name="OSVersion")
    os_type: str = msgspec.field(default="linux", name="OSType")
    architecture: str = ""
    index_server_address: str = ""
    registry_config: dict[str, Any] | None = None
    ncpu: int = msgspec.field(default=0, name="NCPU")
    mem_total: int = 0
    generic_resources: list[Any] | None = None
    docker_root_dir: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    name: str = ""
    labels: list[str] = []
    experimental_build: bool = False
    server_version: str = ""
    runtimes: dict[str, dict[str, str]] = {}
    default_runtime: str = ""
    swarm: SwarmInfoJson = SwarmInfoJson()
    live_restore_enabled: bool = True
    isolation: str = ""
    init_binary: str = ""
    security_options: list[str] = []
    warnings: list[str] | None = None
