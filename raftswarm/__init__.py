"""Swarm mode as a Python library: a durable Raft engine, and the control plane that runs on it.

    async with raftswarm.open_member("state/a", machine, name="a", members={"a": "127.0.0.1:7001"}) as member:
        await member.wait_gained()
        await member.propose(b"command")

To embed it (docs/embedding.md; `help(raftswarm.RaftMember)` and the like say more):
    open_member             one member on this machine's disk and network, yields a RaftMember
    open_host               many members, of as many groups, on one disk and network, yields a Host
    connect                 talk to a cluster over the network, each command once; yields a Client
    RaftMember              propose, query, read_barrier; leadership and configuration to watch; add and remove members
    Replicated              what a member and a client have in common: propose and query
    RaftSettings            timing and limits
    CompactionPolicy        when snapshots are taken
    raftswarm.recipes       dict, counter, set, queue, lock and leader lease, ready to use (docs/recipes.md)
    raftswarm.blocking      open_member and connect for programs without an event loop
    raftswarm.aio           the same for asyncio

What is replicated:
    StateMachine            the contract: apply, capture, restore
    Queryable               the same with query
    Context                 where in the log a command stands: its number, its time
    Capture, Captured       a picture of the state; the simplest one

For tests:
    open_cluster            a whole cluster in memory, on virtual time, yields a MemoryCluster

Errors; each says whether it happened (raftswarm.errors has them all):
    RaftSwarmError          the base of all of them
    NotLeader, Overloaded, PayloadTooLarge, Rejected, InvalidSpec: nothing happened
    OutcomeUnknown          it may have happened, or still do
    MachineFailed, StorageError: this member has stopped
"""

from __future__ import annotations

from importlib import import_module

from raftswarm.version import __version__

TYPE_CHECKING = False  # As type checkers know it; `typing` costs as much to import as all the rest here.
if TYPE_CHECKING:
    from raftswarm.consensus.client import Client, connect
    from raftswarm.consensus.host import Host, open_host, open_member
    from raftswarm.consensus.member import RaftMember
    from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
    from raftswarm.consensus.replica import CompactionPolicy
    from raftswarm.consensus.replicated import Replicated
    from raftswarm.errors import (
        InvalidSpec,
        MachineFailed,
        NotLeader,
        OutcomeUnknown,
        Overloaded,
        PayloadTooLarge,
        RaftSwarmError,
        Rejected,
        StorageError,
    )
    from raftswarm.raft.settings import RaftSettings
    from raftswarm.raft.state_machine import Capture, Captured, Context, Queryable, StateMachine

__all__ = [
    "Capture",
    "Captured",
    "Client",
    "CompactionPolicy",
    "Context",
    "Host",
    "InvalidSpec",
    "MachineFailed",
    "MemoryCluster",
    "NotLeader",
    "OutcomeUnknown",
    "Overloaded",
    "PayloadTooLarge",
    "Queryable",
    "RaftMember",
    "RaftSettings",
    "RaftSwarmError",
    "Rejected",
    "Replicated",
    "StateMachine",
    "StorageError",
    "__version__",
    "connect",
    "open_cluster",
    "open_host",
    "open_member",
]

_HOMES = {
    "Capture": "raftswarm.raft.state_machine",
    "Captured": "raftswarm.raft.state_machine",
    "Client": "raftswarm.consensus.client",
    "CompactionPolicy": "raftswarm.consensus.replica",
    "Context": "raftswarm.raft.state_machine",
    "Host": "raftswarm.consensus.host",
    "InvalidSpec": "raftswarm.errors",
    "MachineFailed": "raftswarm.errors",
    "MemoryCluster": "raftswarm.consensus.memory_cluster",
    "NotLeader": "raftswarm.errors",
    "OutcomeUnknown": "raftswarm.errors",
    "Overloaded": "raftswarm.errors",
    "PayloadTooLarge": "raftswarm.errors",
    "Queryable": "raftswarm.raft.state_machine",
    "RaftMember": "raftswarm.consensus.member",
    "RaftSettings": "raftswarm.raft.settings",
    "RaftSwarmError": "raftswarm.errors",
    "Rejected": "raftswarm.errors",
    "Replicated": "raftswarm.consensus.replicated",
    "StateMachine": "raftswarm.raft.state_machine",
    "connect": "raftswarm.consensus.client",
    "StorageError": "raftswarm.errors",
    "open_cluster": "raftswarm.consensus.memory_cluster",
    "open_host": "raftswarm.consensus.host",
    "open_member": "raftswarm.consensus.host",
}


def __getattr__(name: str) -> object:
    """Import public names when they are first asked for (PEP 562), so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
