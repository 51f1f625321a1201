"""What a daemon is started with."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.raft.settings import RaftSettings
from raftswarm.storage.log import DEFAULT_SEGMENT_BYTES

DEFAULT_PORT = 2377
WILDCARD_HOSTS = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - recognised, not bound to


@attrs.frozen(kw_only=True)
class NodeSettings:
    """One node's own settings; what the whole swarm agrees on is in the cluster object."""

    state_directory: str
    hostname: str
    listen_address: str
    """``host:port`` for the other nodes."""
    advertise_address: str
    """``host:port`` that the others are told."""
    shared_directory: str
    """Of all daemons of this machine: where they agree on who has which addresses."""
    task_environment: Mapping[str, str]
    """What every task inherits."""
    raft: RaftSettings = RaftSettings()
    compaction: CompactionPolicy = CompactionPolicy()
    segment_bytes: int = DEFAULT_SEGMENT_BYTES
    """Of the member's log."""
    image_commands: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    """What the process executor runs for an image that is no executable's name."""


def split_address(address: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Split ``host:port``; ValueError when the port is no port."""
    host, colon, port = address.rpartition(":")
    if not colon or "]" in port:
        host, port = address, str(default_port)
    number = int(port)
    if not 0 <= number <= 65535:
        raise ValueError(f"port {number} is not between 0 and 65535")
    return host, number


def own_address(asked: str, own: str) -> str:
    """Return what a client asked for, or this node's own address where the client left it open.

    Docker's CLI sends ``0.0.0.0:2377`` unless told otherwise, so a wildcard means the daemon's own address.
    """
    if not asked:
        return own
    host, port = split_address(asked, split_address(own)[1])
    if host in WILDCARD_HOSTS:
        return own
    return f"{host}:{port}"
