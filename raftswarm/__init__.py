"""Swarm mode as a Python library: a durable Raft engine, and the control plane that runs on it.

async with raftswarm.open_member("state/a", machine, name="a", members={"a": "127.0.0.1:7001"}) as member:
    await member.propose(b"command")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from raftswarm.version import __version__

if TYPE_CHECKING:
    from raftswarm.consensus.host import Host, open_host, open_member
    from raftswarm.consensus.member import RaftMember
    from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
    from raftswarm.consensus.replica import CompactionPolicy
    from raftswarm.consensus.replicated import Replicated
    from raftswarm.raft.settings import RaftSettings
    from raftswarm.raft.state_machine import Capture, Captured, Context, Queryable, StateMachine

__all__ = [
    "Capture",
    "Captured",
    "CompactionPolicy",
    "Context",
    "Host",
    "MemoryCluster",
    "Queryable",
    "RaftMember",
    "RaftSettings",
    "Replicated",
    "StateMachine",
    "__version__",
    "open_cluster",
    "open_host",
    "open_member",
]

_HOMES = {
    "Capture": "raftswarm.raft.state_machine",
    "Captured": "raftswarm.raft.state_machine",
    "CompactionPolicy": "raftswarm.consensus.replica",
    "Context": "raftswarm.raft.state_machine",
    "Host": "raftswarm.consensus.host",
    "MemoryCluster": "raftswarm.consensus.memory_cluster",
    "Queryable": "raftswarm.raft.state_machine",
    "RaftMember": "raftswarm.consensus.member",
    "RaftSettings": "raftswarm.raft.settings",
    "Replicated": "raftswarm.consensus.replicated",
    "StateMachine": "raftswarm.raft.state_machine",
    "open_cluster": "raftswarm.consensus.memory_cluster",
    "open_host": "raftswarm.consensus.host",
    "open_member": "raftswarm.consensus.host",
}


def __getattr__(name: str) -> object:
    """Import public names when they are first asked for (PEP 562), so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
