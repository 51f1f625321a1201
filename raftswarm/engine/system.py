"""Endpoints about the engine itself: they answer in every state, and ask nobody."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

import attrs

from raftswarm.api.swarm import show_cluster
from raftswarm.api.system import (
    ComponentJson,
    InfoJson,
    PlatformJson,
    RemoteManagerJson,
    SwarmInfoJson,
    VersionInfoJson,
)
from raftswarm.api.times import write_time
from raftswarm.engine.backend import Backend
from raftswarm.engine.node_protocol import LocalInfo, LocalState
from raftswarm.engine.router import API_VERSION, MIN_API_VERSION, Call, Route, route
from raftswarm.http.messages import Response, json_response

_GO_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_TWO_MANAGERS: Final = """WARNING: Running Swarm in a two-manager configuration. This configuration provides
         no fault tolerance, and poses a high risk to lose control over the cluster.
         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the
         Swarm for fault-tolerance."""


@attrs.frozen
class SystemEndpoints:
    """`_ping`, `version`, `info`, `distribution`."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("HEAD", "/_ping", self.ping),
            route("GET", "/_ping", self.ping),
            route("GET", "/version", self.version),
            route("GET", "/info", self.info),
            route("GET", "/distribution/{name*}/json", self.distribution),
        ]

    async def ping(self, call: Call) -> Response:
        """Say that somebody is here; the headers say who."""
        info = self._backend.node.info()
        headers = (
            ("Cache-Control", "no-cache, no-store, must-revalidate"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Pragma", "no-cache"),
            ("Swarm", _swarm_word(info)),
        )
        return Response(headers=headers, body=b"OK" if call.request.method == "GET" else b"")

    async def version(self, _call: Call) -> Response:
        """``GET /version``."""
        host = self._backend.host
        version = self._backend.node.info().description.engine_version
        architecture = _GO_ARCHITECTURES.get(host.architecture, host.architecture)
        details = {
            "ApiVersion": API_VERSION,
            "Arch": architecture,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": host.interpreter,
            "KernelVersion": host.kernel_version,
            "MinAPIVersion": MIN_API_VERSION,
            "Os": "linux",
        }
        return json_response(
            VersionInfoJson(
                platform=PlatformJson(name="raftswarm"),
                components=[ComponentJson(name="Engine", version=version, details=details)],
                version=version,
                api_version=API_VERSION,
                min_api_version=MIN_API_VERSION,
                go_version=host.interpreter,
                arch=architecture,
                kernel_version=host.kernel_version,
            )
        )

    async def info(self, _call: Call) -> Response:
        """``GET /info``."""
        info = self._backend.node.info()
        host = self._backend.host
        description = info.description
        swarm = show_local_state(info)
        plugins: dict[str, list[str] | None] = {"Volume": None, "Network": None, "Authorization": None, "Log": None}
        for type_, name in description.plugins:
            plugins[type_] = [*(plugins.get(type_) or []), name]
        return json_response(
            InfoJson(
                id=_engine_id(info),
                containers=info.running_tasks,
                containers_running=info.running_tasks,
                driver="none",
                plugins=plugins,
                system_time=write_time(self._backend.clock.now_ns()),
                logging_driver="json-file",
                kernel_version=host.kernel_version,
                operating_system=host.operating_system,
                os_version=host.os_version,
                architecture=description.platform.architecture or host.architecture,
                ncpu=description.nano_cpus // 1_000_000_000,
                mem_total=description.memory_bytes,
                docker_root_dir=info.state_directory,
                name=description.hostname,
                labels=[f"{key}={value}" for key, value in sorted(description.engine_labels.items())],
                server_version=description.engine_version,
                runtimes={"process": {"path": ""}},
                default_runtime="process",
                swarm=swarm,
                warnings=swarm.warnings or None,
            )
        )

    async def distribution(self, _call: Call) -> Response:
        """Answer that no registry is asked: images name local commands, so there is no digest to pin."""
        return json_response({"Descriptor": {"mediaType": "", "digest": "", "size": 0}, "Platforms": []})


def show_local_state(info: LocalInfo) -> SwarmInfoJson:
    """Render the Swarm section of ``GET /info``."""
    active_manager = info.is_manager and info.state is LocalState.ACTIVE
    managers = [RemoteManagerJson(node_id=node_id, addr=address) for node_id, address in info.remote_managers]
    return SwarmInfoJson(
        node_id=info.node_id,
        node_addr=info.node_address,
        local_node_state=info.state.value,
        control_available=active_manager,
        error=info.error,
        remote_managers=managers or None,
        nodes=info.node_count if active_manager else 0,
        managers=info.manager_count if active_manager else 0,
        cluster=show_cluster(info.cluster) if active_manager else None,
        warnings=[_TWO_MANAGERS] if active_manager and info.manager_count == 2 else [],
    )


def _swarm_word(info: LocalInfo) -> str:
    if info.state is not LocalState.ACTIVE:
        return info.state.value
    return "active/manager" if info.is_manager else "active/worker"


def _engine_id(info: LocalInfo) -> str:
    """Name this engine: the same as long as it keeps its host name and state directory."""
    seed = f"{info.description.hostname}\0{info.state_directory}".encode()
    return str(uuid.UUID(bytes=hashlib.sha256(seed).digest()[:16]))
