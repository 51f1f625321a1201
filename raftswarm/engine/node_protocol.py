"""What the Engine API needs of the node it fronts. `node` implements it; tests use a fake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from raftswarm.engine.events import EventLog
from raftswarm.manager.control.requests import AnyControlAnswer, AnyControlRequest
from raftswarm.objects.records import Cluster, NodeDescription
from raftswarm.objects.specs import SwarmSpec
from raftswarm.storage.backup import BackupKey

if TYPE_CHECKING:
    from raftswarm.engine.observability import Check, Metric


class LocalState(StrEnum):
    """Docker's LocalNodeState."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


class InitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /swarm/init`, checked and with Docker's defaults filled in."""

    listen_address: str = ""
    """Empty or a wildcard: the daemon's own."""
    advertise_address: str = ""
    """Empty: the daemon's own."""
    spec: SwarmSpec = SwarmSpec()
    availability: str = "active"
    force_new_cluster: bool = False
    default_address_pool: tuple[str, ...] = ()
    subnet_size: int = 24
    data_path_port: int = 4789


class JoinOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /swarm/join`."""

    remote_addresses: tuple[str, ...]
    join_token: str
    listen_address: str = ""
    advertise_address: str = ""
    availability: str = "active"


class LocalInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /info` says about this node and its swarm; never waits for anybody."""

    state: LocalState
    description: NodeDescription
    node_id: str = ""
    node_address: str = ""
    is_manager: bool = False
    error: str = ""
    remote_managers: tuple[tuple[str, str], ...] = ()
    """(node id, address)."""
    node_count: int = 0
    manager_count: int = 0
    cluster: Cluster | None = None
    """On a manager, from its own tables."""
    running_tasks: int = 0
    state_directory: str = ""


class SwarmNode(Protocol):
    """One machine of the swarm. Refusals are `RequestRefused` in Docker's words (SWARM 15)."""

    @property
    def events(self) -> EventLog:
        """What has happened, as far as this node has seen it."""
        ...

    def info(self) -> LocalInfo:
        """Describe this node as it is now."""
        ...

    def metrics(self) -> Iterable[Metric]:
        """All figures of this node, as it is now."""
        ...

    def readiness(self) -> Sequence[Check]:
        """What has to hold of a node that does its part, and whether it does."""
        ...

    async def init(self, options: InitOptions) -> str:
        """Begin a swarm; return this node's id."""
        ...

    async def join(self, options: JoinOptions) -> None:
        """Join one; at most 20 s, then goes on in the background."""
        ...

    async def rejoin(self, addresses: Sequence[str]) -> None:
        """Find the managers of the swarm that this worker is in at these addresses."""
        ...

    async def leave(self, *, force: bool) -> None:
        """Leave it."""
        ...

    async def unlock(self, key: str) -> None:
        """Unlock a locked manager."""
        ...

    async def backup(self, key: BackupKey | None) -> Iterator[bytes]:
        """Return the pieces of a backup of the swarm as it is now, sealed; without a key, under the unlock key."""
        ...

    async def control(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Ask the swarm: answered here if leading, else by the leader. Waits while an election is possible."""
        ...
