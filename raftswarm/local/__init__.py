"""A swarm of daemons on this machine."""

from raftswarm.local.swarm import LocalNode, LocalSwarm

__all__ = ["LocalNode", "LocalSwarm"]
