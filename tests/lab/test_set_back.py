"""A log that was cut behind its mark, an old copy, a wiped directory: the first peer that remembers more says so.

No disk can tell that of itself; every member that runs remembers what the others said they had (docs/raft.md,
"Openings").
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.host import LOG_DIRECTORY, Host
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.records import SECTOR
from raftswarm.storage.segment import OpenSegment, read_records
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import SimulatedDisk
from tests.lab.steps import T, followers, journal, lead, write

Setback = Callable[[CoreWorld, Host], None]
SEEDS = range(1, 13)


def cut_behind_the_mark(world: CoreWorld, host: Host) -> None:
    """Take the last records off the newest segment, down to a whole one, and its mark with them."""
    del world
    path = [path for path in host.disk.sizes(LOG_DIRECTORY) if path.endswith(".segment")][-1]
    file = host.disk.open(path)
    image = file.read(0, file.size())
    keys = KeyRing.open(host.disk, "certificates", SeededEntropy(host.chance))
    records, broken = read_records(OpenSegment.parse(image[:SECTOR], keys.data_key, path), image)
    assert broken is None
    assert records[-1].payload == b"", "it was closed in peace"
    begin = records[-4].offset
    file.write(begin, [bytes(len(image) - begin)])
    file.sync()


def put_an_old_copy_back(world: CoreWorld, host: Host) -> None:
    """What the disk held before the last writes, of which each went to the log of this very start."""
    del world
    assert host.copy is not None
    host.disk.put_back(host.copy[2])


def wipe(world: CoreWorld, host: Host) -> None:
    """An empty directory, in which the founding member begins again."""
    del world
    configuration = host.configuration
    host.disk = SimulatedDisk()
    host.create(configuration)


@pytest.mark.parametrize("set_back", [cut_behind_the_mark, put_an_old_copy_back, wipe])
def test_the_first_peer_that_remembers_more_says_so(set_back: Setback) -> None:
    noticed: dict[int, float] = {}
    for seed in SEEDS:
        world = CoreWorld(seed)
        leader = lead(world)
        for number in range(5):
            write(world, b"%d" % number)
        victim = followers(world)[seed % 2]
        host = world.hosts[victim]
        world.run_for(T)
        host.copy = (host.boot, host.configuration, host.disk.copy())
        for number in range(5, 10):
            write(world, b"%d" % number)
        world.run_for(T)
        world.stop(victim)
        before = world.history.acknowledged_index

        set_back(world, host)
        host.is_damaged = host.is_set_back = True
        world.suspect = victim
        world.start(victim)
        noticed[seed] = world.run_until(
            lambda host=host: host.is_lost,  # type: ignore[misc]
            within_seconds=T,
            what="a member that is told",
        )

        assert host.is_noticed
        assert world.outcomes == {"regressed": 1}
        write(world, b"without it")
        assert world.history.acknowledged_index > before
        assert journal(world, leader)[-1] == b"without it"
    print(f"{set_back.__name__}: noticed {len(noticed)} of {len(SEEDS)}, after {max(noticed.values()):.3f} s at most")  # noqa: T201 - figures, for whoever asks with -s
    assert len(noticed) == len(SEEDS)
