"""The ``raftswarm`` command: Docker's grammar over the Engine API, and the commands that start daemons."""

from raftswarm.cli.main import main

__all__ = ["main"]
