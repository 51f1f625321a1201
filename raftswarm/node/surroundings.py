"""What stands between a daemon and its machine: nothing, or the made-up conditions of a local swarm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import attrs
import trio

from raftswarm.transport.conditioned import ConditionedSockets
from raftswarm.transport.sockets import KernelSockets, Sockets
from raftswarm.world.clock import SystemWallClock, WallClock
from raftswarm.world.conditioned_clock import ConditionedWallClock, DriftingClock
from raftswarm.world.conditioned_disk import ConditionedDisk
from raftswarm.world.conditions import ConditionsFollower
from raftswarm.world.disk import Disk
from raftswarm.world.real_disk import RealDisk


@attrs.frozen(kw_only=True)
class Surroundings:
    """Disk, date and connections of one daemon."""

    disk: Disk
    wall_clock: WallClock
    sockets: Sockets
    run: Callable[[], Awaitable[None]]
    """Has to run beside whoever uses them."""


def plain_surroundings() -> Surroundings:
    """The machine as it is."""
    return Surroundings(
        disk=RealDisk(), wall_clock=SystemWallClock(), sockets=KernelSockets(), run=trio.lowlevel.checkpoint
    )


def conditioned_surroundings(file: str, host: str, chance: Random) -> Surroundings:
    """The machine under the conditions that a file names for `host`; timers too, if trio runs on a `DriftingClock`.

    Raises:
        RaftSwarmError: the file cannot be read.
    """
    follower = ConditionsFollower(Path(file))
    wall_clock = ConditionedWallClock(SystemWallClock())
    timers = trio.lowlevel.current_clock()

    def set_clocks() -> None:
        machine = follower.current.machine(host)
        wall_clock.set(machine.date_seconds, machine.clock_rate)
        if isinstance(timers, DriftingClock):
            timers.rate = machine.clock_rate

    async def follow() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            while True:
                set_clocks()
                with follower.until_changed():
                    await trio.sleep_forever()

    set_clocks()
    return Surroundings(
        disk=ConditionedDisk(RealDisk(), lambda: follower.current.machine(host)),
        wall_clock=wall_clock,
        sockets=ConditionedSockets(follower, chance),
        run=follow,
    )
