"""``python -m raftswarm`` is ``raftswarm``."""

from raftswarm.cli import main

main()
