"""What one node takes from outside, in one piece: real for daemons, simulated in the lab."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import Random

import attrs

from raftswarm.ca import Credentials
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import Disk, DiskRunner
from raftswarm.world.network import SwarmNetwork
from raftswarm.world.processes import Processes


@attrs.frozen(kw_only=True)
class NodeWorld:
    """Clock, chance, disk, network and processes of one machine; monotonic time is trio's."""

    disk: Disk
    runner: DiskRunner
    wall_clock: WallClock
    chance: Random
    entropy: Entropy
    processes: Processes
    open_network: Callable[[Credentials | None, str], AbstractAsyncContextManager[SwarmNetwork]]
    """Makes the node's network from its credentials and its own host address, from which links are dialled."""
