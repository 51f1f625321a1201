"""Unlock keys and data keys change on running clusters whose machines crash in the middle of it (SWARM 11).

However often that happens: nobody is locked out, nothing acknowledged is lost, and in the end nothing on any disk is
under a key of before. RAFTSWARM_SEEDS runs more worlds; each has a dozen crashes or two, most while a key changes.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from raftswarm.lab import CoreWorld
from raftswarm.storage.keys import new_unlock_key
from raftswarm.storage.sealing import key_id
from raftswarm.world.simulated_disk import SimulatedDisk

FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "10"))
STEPS = 30


class RotatingWorld:
    """A cluster under an operator who changes keys all the time, and a failing mains supply."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = CoreWorld(seed, members=3)
        self.crashes = 0
        self.crashes_within = 0
        """Of them, those of members that were changing their keys."""
        self.exposed: dict[int, set[bytes]] = {member: set() for member in self.world.hosts}
        """By member: data keys that whoever has an earlier unlock key, and a copy of the disk, knows."""

    def step(self) -> None:
        world, chance = self.world, self.chance
        for member in self.down:
            if chance.random() < 0.7:
                world.start(member)  # Raises what locks it out.
        for _ in range(chance.randrange(4)):
            if world.leader is not None:
                world.propose(b"command")
        world.run_for(chance.uniform(0.0, 0.4))
        if not world.running:
            return
        member = chance.choice(world.running)
        self.change_key(member)
        if chance.random() < 0.6:
            world.run_for(chance.choice((0.0, 0.001, 0.01, 0.2)))
            self.crash(member)

    @property
    def down(self) -> list[int]:
        return [member for member, host in self.world.hosts.items() if host.process is None]

    def change_key(self, member: int) -> None:
        host, process = self.world.hosts[member], self.world.process(member)
        if len(host.unlock_keys) > 1:
            return  # A change is on its way.
        unlock_key = None if self.chance.random() < 0.2 else new_unlock_key(host.entropy)
        storage = process.storage
        if unlock_key == storage.keys.locked_by:
            return
        host.unlock_keys = (*host.unlock_keys, unlock_key)

        def change() -> None:
            before = storage.keys.data_key
            storage.keys.lock_with(unlock_key)
            if unlock_key is not None:
                self.exposed[member].add(before)
            storage.adopt_key()

        def done(error: BaseException | None) -> None:
            if error is not None:
                process.replica.fail(error)
            else:
                host.unlock_keys = (unlock_key,)

        process.runner.submit(change, done)

    def crash(self, member: int) -> None:
        if self.world.hosts[member].process is not None:
            self.crashes += 1
            self.crashes_within += len(self.world.hosts[member].unlock_keys) > 1 or not self.is_at_rest(member)
            power_lost = self.chance.random() < 0.6
            tearing = Random(self.chance.random()) if power_lost else None
            self.world.crash(member, power_lost=power_lost, disk_calls=self.chance.randrange(45), tearing=tearing)

    def is_at_rest(self, member: int) -> bool:
        return not self.world.process(member).storage.keys.earlier_data_keys


def sealed_under(disk: SimulatedDisk, directory: str = "raft") -> set[bytes]:
    found = set()
    for place, offset in ((f"{directory}/log", 136), (f"{directory}/snapshots", 96)):
        for name in disk.list(place):
            found.add(disk.open(f"{place}/{name}").read(offset, 8))
    return found


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_keys_change_under_crashes_and_nobody_is_locked_out(seed: int) -> None:
    rotating = RotatingWorld(seed)
    world = rotating.world
    for _ in range(STEPS):
        rotating.step()
    for member in rotating.down:
        world.start(member)
    for member in world.hosts:
        rotating.change_key(member)

    world.run_until(lambda: world.leader is not None, within_seconds=30, what="a leader")
    call = world.propose(b"the last")
    world.run_until(lambda: call.ended_at is not None, within_seconds=30, what="a write")
    world.run_until(
        lambda: all(map(rotating.is_at_rest, world.hosts)), within_seconds=30, what="the end of all changes"
    )

    assert rotating.crashes_within >= 5, "a world in which nothing happened tests nothing"
    for member, host in world.hosts.items():
        keys = world.process(member).storage.keys
        assert sealed_under(host.disk) == {key_id(keys.data_key)}
        assert keys.locked_by is None or keys.data_key not in rotating.exposed[member]
