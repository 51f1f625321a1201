"""What one node takes from outside, in one piece: real for daemons, simulated in the lab."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import Random

import attrs

from raftswarm.ca import Credentials, new_key
from raftswarm.ca.keys import KEY_RANDOM_BYTES, PrivateKey
from raftswarm.objects.records import NodeDescription
from raftswarm.store.store import Applied
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import Disk, DiskRunner
from raftswarm.world.network import SwarmNetwork
from raftswarm.world.ports import Ports
from raftswarm.world.processes import Processes


def make_p256_key(entropy: Entropy) -> PrivateKey:
    """Make the kind of key that real nodes have."""
    return new_key(entropy.token_bytes(KEY_RANDOM_BYTES))


@attrs.frozen(kw_only=True)
class NodeWorld:
    """Clock, chance, disk, network and processes of one machine; monotonic time is trio's."""

    disk: Disk
    runner: DiskRunner
    wall_clock: WallClock
    chance: Random
    entropy: Entropy
    processes: Processes
    ports: Ports
    describe: Callable[[], NodeDescription]
    """What the machine is: platform, CPUs, memory. The node adds its host name and what its certificate says."""
    open_network: Callable[[Credentials | None, str], AbstractAsyncContextManager[SwarmNetwork]]
    """Makes the node's network from its credentials and its own host address, from which links are dialled."""
    make_key: Callable[[Entropy], PrivateKey] = make_p256_key
    """Simulated worlds take a kind of key whose signatures need no chance."""
    applied: Applied | None = None
    """Hears of everything that changes this manager's tables."""
