"""The stored objects: what users want (`spec`) beside what managers and agents found (everything else).

All are frozen; `msgspec.structs.replace` makes the next version. `version` is the number of the command that wrote it
(Docker's `Version.Index`), the times are the leader's, nanoseconds since the epoch; the store sets the three.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from raftswarm.objects.docker_names import DockerStruct
from raftswarm.objects.specs import EndpointSpec, Labels, NodeSpec, PortConfig, ServiceSpec, SwarmSpec, TaskSpec
from raftswarm.objects.states import NodeState, TaskState, UpdateState


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every stored object has."""

    kind: ClassVar[str]

    id: str
    version: int = 0
    created_at: int = 0
    updated_at: int = 0


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node runs on."""

    architecture: str = ""
    os: str = ""


class NodeDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent says about its machine."""

    hostname: str = ""
    platform: Platform = Platform()
    nano_cpus: int = 0
    memory_bytes: int = 0
    engine_version: str = ""
    engine_labels: Labels = {}
    plugins: tuple[tuple[str, str], ...] = ()
    """(type, name), such as ("Volume", "local")."""
    trust_root: str = ""
    """PEM of the root this node trusts."""
    issuer_subject: bytes = b""
    """DER, of its own certificate."""
    issuer_public_key: bytes = b""


class PeerUnlock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """With what a locked manager may ask its peers for the unlock key."""

    digest: bytes = b""
    """Of its credential; empty when that was revoked."""
    host: str = ""
    """From where it has to ask."""
    made_at: int = 0
    given_at: int = 0
    """When the key was given to this node last; a credential that was used is replaced."""

    @property
    def is_used(self) -> bool:
        """Tell whether the key was given for this credential."""
        return self.given_at >= self.made_at > 0


class Node(Object, frozen=True, kw_only=True):
    """A machine in the swarm."""

    kind = "node"

    spec: NodeSpec = NodeSpec()
    """`spec.role` is the desired role."""
    role: str = "worker"
    """What its certificate says: observed."""
    description: NodeDescription = NodeDescription()
    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    address: str = ""
    """Host part, as the managers see it."""
    member_id: int = 0
    """Its Raft member, while it is a manager."""
    manager_address: str = ""
    """``host:port`` where the other managers reach it."""
    certificate_expiry: int = 0
    peer_unlock: PeerUnlock | None = None
    """Of a manager, where the swarm allows it."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a service is reached, as allocated."""

    spec: EndpointSpec = EndpointSpec()
    ports: tuple[PortConfig, ...] = ()
    virtual_ips: tuple[tuple[str, str], ...] = ()
    """(network id, address/prefix)."""


class UpdateStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the last update stands."""

    state: UpdateState
    message: str = ""
    started_at: int = 0
    completed_at: int = 0


class JobStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which run of a job is the current one: every update of the service begins another (SWARM 1.5)."""

    iteration: int = 0
    last_execution: int = 0
    """When it began."""


class Service(Object, frozen=True, kw_only=True):
    """Something that should run."""

    kind = "service"

    spec: ServiceSpec
    spec_version: int = 0
    """The service's version when `spec` was written; 0 at creation (SWARM 1.4)."""
    previous_spec: ServiceSpec | None = None
    previous_spec_version: int = 0
    endpoint: Endpoint | None = None
    """None until the allocator has seen it."""
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None
    """Of jobs only."""


class ContainerStatus(DockerStruct, frozen=True, kw_only=True):
    """The process behind a task."""

    container_id: str = ""
    pid: int = 0
    exit_code: int = 0


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was observed last, and by whom it was written down."""

    state: TaskState = TaskState.NEW
    timestamp: int = 0
    message: str = ""
    error: str = ""
    container: ContainerStatus | None = None
    ports: tuple[PortConfig, ...] = ()
    """Host-mode ports as bound on the node."""
    address: str = ""
    """Where the task listens: its own address on its node."""
    applied_by: str = ""
    applied_at: int = 0


class Task(Object, frozen=True, kw_only=True):
    """One attempt to run one slot of a service."""

    kind = "task"

    spec: TaskSpec
    """A copy of the service's template."""
    spec_version: int = 0
    service_id: str = ""
    service_name: str = ""
    service_labels: Labels = {}
    slot: int = 0
    """1 and up; 0 for tasks of global services and jobs, which have a node instead."""
    node_id: str = ""
    desired_state: TaskState = TaskState.RUNNING
    status: TaskStatus = TaskStatus()
    endpoint: Endpoint | None = None
    """The service's endpoint when the task was made."""
    job_iteration: int | None = None
    """Of a job's task: the run it belongs to."""

    @property
    def shown_slot(self) -> int:
        """The slot as users know it: Docker counts those of a job from 0 (SWARM 2.2)."""
        return self.slot - 1 if self.slot and self.job_iteration is not None else self.slot

    @property
    def name(self) -> str:
        """``<service>.<slot>.<task id>``, with the node id in place of slot 0 (SWARM 1.3)."""
        return f"{self.service_name}.{self.shown_slot or self.node_id}.{self.id}"


class JoinTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets that let nodes in."""

    worker: str
    manager: str


class Cluster(Object, frozen=True, kw_only=True):
    """The swarm itself; exactly one, named ``default``; its id is the certificates' organization."""

    kind = "cluster"

    spec: SwarmSpec
    root_certificate: str
    """PEM."""
    root_key: str
    """PEM; never leaves the managers."""
    join_tokens: JoinTokens
    unlock_key: str = ""
    """``SWMKEY-1-…`` while autolock is on."""
    unlock_by_peers: bool = False
    """A locked manager may ask its peers for that key."""
    removed_nodes: dict[str, int] = {}
    """Node ids that may never come back, with the expiry of their certificates."""
    default_address_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789


AnyObject = Node | Service | Task | Cluster
