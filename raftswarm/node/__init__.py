"""One machine of the swarm: wires everything below to a world."""

from raftswarm.node.daemon import DaemonOptions, run_daemon

__all__ = ["DaemonOptions", "run_daemon"]
