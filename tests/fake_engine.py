"""A fake node that answers from what recordings show, and an engine over it to call without a socket."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from raftswarm.api.times import read_time
from raftswarm.engine.engine_api import EngineApi
from raftswarm.engine.events import EventLog
from raftswarm.engine.host import HostFacts
from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalInfo, LocalState
from raftswarm.engine.observability import Check, Metric, gauge
from raftswarm.errors import RequestRefused
from raftswarm.http.messages import Request, Response
from raftswarm.manager.control import requests
from raftswarm.objects import records
from raftswarm.objects.explanations import ServiceExplanation
from raftswarm.objects.specs import EndpointSpec, NodeSpec, PortConfig, ServiceSpec, SwarmSpec, TaskSpec
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.swarm_status import SwarmStatus
from raftswarm.storage.backup import BackupKey

NOW = 1_795_248_000_000_000_000


class FakeNode:
    """Knows the objects it is given, finds them by id, name or prefix, and remembers what it was asked."""

    def __init__(self) -> None:
        self.local = LocalInfo(
            state=LocalState.ACTIVE,
            is_manager=True,
            node_id="wpb4jpn5onzypdwbuh2r7xayd",
            node_address="192.168.79.11",
            node_count=1,
            manager_count=1,
            description=records.NodeDescription(hostname="docker1", engine_version="0.1.0"),
        )
        self.nodes: list[requests.NodeView] = []
        self.services: list[requests.ServiceView] = []
        self.tasks: list[records.Task] = []
        self.cluster: records.Cluster | None = None
        self.unlock_key = ""
        self.asked: list[requests.AnyControlRequest] = []
        self.options: list[InitOptions | JoinOptions] = []
        self.left: list[bool] = []
        self.rejoined: list[list[str]] = []
        self.unlocked_with: list[str] = []
        self.refusal: Exception | None = None
        self._known: set[str] = set()
        self.events = EventLog()
        self.swarm_status = SwarmStatus()
        self.explanation = ServiceExplanation(service_id="s1")
        self.checks = [Check("swarm"), Check("agent")]
        self.figures = [gauge("swarm_node_manager", "Whether this node is a manager", 1)]

    def info(self) -> LocalInfo:
        return self.local

    def metrics(self) -> list[Metric]:
        return self.figures

    def readiness(self) -> list[Check]:
        return self.checks

    def become(self, state: LocalState, *, is_manager: bool = False, error: str = "") -> None:
        self.local = msgspec.structs.replace(self.local, state=state, is_manager=is_manager, error=error)

    async def init(self, options: InitOptions) -> str:
        self.options.append(options)
        self._refuse()
        return self.local.node_id

    async def join(self, options: JoinOptions) -> None:
        self.options.append(options)
        self._refuse()

    async def rejoin(self, addresses: Sequence[str]) -> None:
        self._refuse()
        self.rejoined.append(list(addresses))

    async def leave(self, *, force: bool) -> None:
        self.left.append(force)

    async def unlock(self, key: str) -> None:
        self.unlocked_with.append(key)
        self._refuse()

    async def backup(self, key: BackupKey | None) -> Iterator[bytes]:
        self._refuse()
        return iter([b"sealed under ", b"the unlock key" if key is None else key.key])

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def control(  # noqa: C901, PLR0912 - a table
        self, request: requests.AnyControlRequest
    ) -> requests.AnyControlAnswer:
        self.asked.append(request)
        self._refuse()
        answer: requests.AnyControlAnswer = requests.Accepted()
        match request:
            case requests.GetCluster():
                assert self.cluster is not None
                answer = requests.ClusterAnswer(cluster=self.cluster)
            case requests.GetUnlockKey():
                answer = requests.UnlockKeyAnswer(unlock_key=self.unlock_key)
            case requests.ListNodes():
                answer = requests.NodesAnswer(nodes=tuple(self.nodes))
            case requests.GetNode(reference=reference):
                answer = requests.NodeAnswer(view=self._find_node(reference))
            case requests.ListServices():
                answer = requests.ServicesAnswer(services=tuple(self._matching(request.filters)))
            case requests.GetService(reference=reference):
                answer = requests.ServiceAnswer(view=self._find_service(reference))
            case requests.ListTasks():
                answer = requests.TasksAnswer(tasks=tuple(self.tasks))
            case requests.GetTask(reference=reference):
                answer = requests.TaskAnswer(task=self._find_task(reference))
            case requests.GetStatus():
                answer = requests.StatusAnswer(status=self.swarm_status)
            case requests.ExplainService(reference=reference):
                self._find_service(reference)
                answer = requests.ServiceExplained(explanation=self.explanation)
            case requests.ExplainTask():
                answer = requests.TaskExplained(explanation=self.explanation.tasks[0])
            case requests.RemoveService(reference=reference):
                self._find_service(reference)
            case requests.CreateService():
                answer = requests.CreatedAnswer(id="cb1hcter03yiurfa6td75rno6")
        return answer

    def _matching(self, filters: requests.Filters) -> list[requests.ServiceView]:
        return [
            view
            for view in self.services
            if all(view.service.id.startswith(value) for value in filters.get("id", []))
            and all(view.service.spec.name.startswith(value) for value in filters.get("name", []))
        ]

    def _find_node(self, reference: str) -> requests.NodeView:
        for view in self.nodes:
            if view.node.id.startswith(reference) or view.node.description.hostname == reference:
                return view
        raise _not_found("node", reference)

    def _find_service(self, reference: str) -> requests.ServiceView:
        for view in self.services:
            if view.service.id.startswith(reference) or view.service.spec.name == reference:
                return view
        raise _not_found("service", reference)

    def _find_task(self, reference: str) -> records.Task:
        for task in self.tasks:
            if task.id.startswith(reference):
                return task
        raise _not_found("task", reference)

    def forget(self) -> None:
        """Know no objects any more."""
        self.nodes, self.services, self.tasks, self.cluster = [], [], [], None
        self._known.clear()

    def load(self, shown: Any) -> None:
        """Take in whatever an answer of the recorded engine shows."""
        for part in shown if isinstance(shown, list) else [shown]:
            if not isinstance(part, dict) or part.get("ID") in self._known:
                continue
            if part.get("ID") and "Swarm" not in part:
                self._known.add(part["ID"])
            if "Hostname" in part.get("Description", {}):
                self.nodes.append(_read_node(part))
            elif "TaskTemplate" in part.get("Spec", {}):
                self.services.append(_read_service(part))
            elif "DesiredState" in part:
                self.tasks.append(_read_task(part))
            elif "JoinTokens" in part:
                self.cluster = _read_cluster(part)
            elif "Swarm" in part:
                self.local = _read_info(part)


def _not_found(kind: str, reference: str) -> RequestRefused:
    error = RequestRefused(f"{kind} {reference} not found", code="NotFound")
    object.__setattr__(error, "from_engine", True)
    return error


def _meta(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": shown["ID"],
        "version": shown["Version"].get("Index", 0),
        "created_at": read_time(shown["CreatedAt"]),
        "updated_at": read_time(shown["UpdatedAt"]),
    }


def _read_node(shown: dict[str, Any]) -> requests.NodeView:
    told = shown["Description"]
    description = records.NodeDescription(
        hostname=told["Hostname"],
        platform=records.Platform(architecture=told["Platform"]["Architecture"], os=told["Platform"]["OS"]),
        nano_cpus=told["Resources"]["NanoCPUs"],
        memory_bytes=told["Resources"]["MemoryBytes"],
        engine_version=told["Engine"]["EngineVersion"],
        engine_labels=told["Engine"].get("Labels", {}),
        plugins=tuple((plugin["Type"], plugin["Name"]) for plugin in told["Engine"]["Plugins"]),
        trust_root=told["TLSInfo"]["TrustRoot"],
        issuer_subject=base64.b64decode(told["TLSInfo"]["CertIssuerSubject"]),
        issuer_public_key=base64.b64decode(told["TLSInfo"]["CertIssuerPublicKey"]),
    )
    node = records.Node(
        **_meta(shown),
        spec=msgspec.convert(shown["Spec"], NodeSpec),
        description=description,
        state=NodeState(shown["Status"]["State"]),
        message=shown["Status"].get("Message", ""),
        address=shown["Status"].get("Addr", ""),
    )
    told = shown.get("ManagerStatus")
    status = told and requests.ManagerStatus(
        leader=told.get("Leader", False), reachable=told["Reachability"] == "reachable", address=told["Addr"]
    )
    return requests.NodeView(node=node, manager_status=status)


def _read_service(shown: dict[str, Any]) -> requests.ServiceView:
    told = shown.get("Endpoint") or {}
    endpoint = records.Endpoint(
        spec=msgspec.convert(told.get("Spec", {}), EndpointSpec),
        ports=tuple(msgspec.convert(port, PortConfig) for port in told.get("Ports", [])),
        virtual_ips=tuple((vip["NetworkID"], vip.get("Addr", "")) for vip in told.get("VirtualIPs", [])),
    )
    update = shown.get("UpdateStatus")
    status = update and records.UpdateStatus(
        state=UpdateState(update["State"]),
        message=update.get("Message", ""),
        started_at=read_time(update.get("StartedAt", "")),
        completed_at=read_time(update.get("CompletedAt", "")),
    )
    previous = shown.get("PreviousSpec")
    service = records.Service(
        **_meta(shown),
        spec=msgspec.convert(shown["Spec"], ServiceSpec),
        previous_spec=previous and msgspec.convert(previous, ServiceSpec),
        endpoint=endpoint,
        update_status=status,
    )
    told = shown.get("ServiceStatus")
    counts = told and requests.ServiceTaskCounts(
        running=told["RunningTasks"], desired=told["DesiredTasks"], completed=told["CompletedTasks"]
    )
    return requests.ServiceView(service=service, counts=counts)


def _read_task(shown: dict[str, Any]) -> records.Task:
    told = shown["Status"]
    container = told.get("ContainerStatus")
    status = records.TaskStatus(
        state=TaskState[told["State"].upper()],
        timestamp=read_time(told["Timestamp"]),
        message=told.get("Message", ""),
        error=told.get("Err", ""),
        container=container and msgspec.convert(container, records.ContainerStatus),
        ports=tuple(msgspec.convert(port, PortConfig) for port in told["PortStatus"].get("Ports", [])),
    )
    return records.Task(
        **_meta(shown),
        spec=msgspec.convert(shown["Spec"], TaskSpec),
        service_id=shown.get("ServiceID", ""),
        slot=shown.get("Slot", 0),
        node_id=shown.get("NodeID", ""),
        desired_state=TaskState[shown["DesiredState"].upper()],
        status=status,
    )


def _read_cluster(shown: dict[str, Any]) -> records.Cluster:
    tokens = shown.get("JoinTokens", {})
    return records.Cluster(
        **_meta(shown),
        spec=msgspec.convert(shown["Spec"], SwarmSpec),
        root_certificate=shown["TLSInfo"]["TrustRoot"],
        root_key="secret",
        join_tokens=records.JoinTokens(worker=tokens.get("Worker", ""), manager=tokens.get("Manager", "")),
        default_address_pool=tuple(shown["DefaultAddrPool"] or ("10.0.0.0/8",)),
        subnet_size=shown["SubnetSize"],
        data_path_port=shown["DataPathPort"],
    )


def _read_info(shown: dict[str, Any]) -> LocalInfo:
    told = shown["Swarm"]
    plugins = [(type_, name) for type_, names in shown["Plugins"].items() for name in names or ()]
    cluster = told.get("Cluster")
    return LocalInfo(
        state=LocalState(told["LocalNodeState"]),
        node_id=told["NodeID"],
        node_address=told["NodeAddr"],
        is_manager=told["ControlAvailable"],
        error=told["Error"],
        remote_managers=tuple((manager["NodeID"], manager["Addr"]) for manager in told["RemoteManagers"] or ()),
        node_count=told.get("Nodes", 0),
        manager_count=told.get("Managers", 0),
        cluster=_read_cluster(cluster) if cluster and cluster["ID"] else None,
        description=records.NodeDescription(
            hostname=shown["Name"],
            engine_version=shown["ServerVersion"],
            nano_cpus=shown["NCPU"] * 1_000_000_000,
            memory_bytes=shown["MemTotal"],
            plugins=tuple(plugins),
            platform=records.Platform(architecture=shown["Architecture"], os="linux"),
        ),
        state_directory=shown["DockerRootDir"],
    )


class StoppedClock:
    """Shows one date for ever."""

    def now_ns(self) -> int:
        return NOW


class Engine:
    """An engine to call without a socket."""

    def __init__(self, node: FakeNode) -> None:
        host = HostFacts(kernel_version="6.1.0-generic", operating_system="Debian", architecture="x86_64")
        self.api = EngineApi(node, host=host, clock=StoppedClock(), chance=random.Random(1))

    async def call(self, method: str, target: str, body: Any = None) -> Response:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.api.handle(Request(method=method, target=target, body=data))

    async def refused(self, method: str, target: str, body: Any = None) -> tuple[int, str]:
        """Call, and return status and message."""
        response = await self.call(method, target, body)
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)["message"]
