"""Snapshots in the simulated world: resumed, checked, and no burden on whoever has them (section 7)."""

from __future__ import annotations

import errno

import attrs
import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.history import Call
from raftswarm.lab.host import SNAPSHOTS_DIRECTORY
from raftswarm.lab.journal import Journal
from raftswarm.lab.trace import Trace

T = 1.0
SLOW = NetworkConditions(bytes_per_second=10_000)
"""A snapshot of some 32,000 bytes takes seconds."""
POLICY = CompactionPolicy(snapshot_every_commands=20, keep_entries=0)


def make_world(seed: int, *, network: NetworkConditions = SLOW, policy: CompactionPolicy = POLICY) -> CoreWorld:
    world = CoreWorld(seed, faults=FaultMix(network=network), compaction=policy, trace=Trace(enabled=True))
    world.run_until(lambda: world.leader is not None, within_seconds=4 * T, what="a first leader")
    return world


def write(world: CoreWorld, count: int, size: int = 1000) -> None:
    for _ in range(count):
        finish(world, world.propose(bytes(size)))


def finish(world: CoreWorld, *calls: Call) -> None:
    world.run_until(lambda: all(call.ended_at is not None for call in calls), within_seconds=10 * T, what="answers")
    assert [call.error for call in calls] == [None] * len(calls)


def leave_behind(world: CoreWorld) -> int:
    """Let somebody miss so much that only a snapshot helps; return who it is, running again."""
    behind = next(member for member in world.running if member != world.leader)
    world.crash(behind)
    world.run_for(2 * T)
    write(world, 60)
    world.run_for(T)
    assert world.network.bulk_bytes == 0
    world.start(behind)
    return behind


def wait_sent(world: CoreWorld, size: int) -> None:
    world.run_until(lambda: world.network.bulk_bytes >= size, within_seconds=10 * T, what=f"{size} bytes sent")


def agree(world: CoreWorld) -> None:
    def is_so() -> bool:
        states = []
        for member in world.running:
            machine = world.process(member).machine.machine
            assert isinstance(machine, Journal)
            states.append((machine.count, machine.last))
        return all(state == states[0] for state in states)

    world.run_until(is_so, within_seconds=60 * T, what="agreement")


def told(world: CoreWorld, text: str) -> int:
    return sum(text in line for line in world.trace.lines)


def test_a_transfer_that_is_cut_goes_on_where_it_stood() -> None:
    world = make_world(1)
    behind = leave_behind(world)
    wait_sent(world, 30_000)
    world.run_for(2 * T)  # Sent is not arrived: the link is slow.
    world.isolate(behind)
    world.run_for(5 * T)
    before = world.network.bulk_bytes

    world.heal()
    agree(world)

    assert told(world, f"{behind}: received a snapshot") == 1
    assert before >= 30_000
    assert world.network.bulk_bytes - before < 20_000


def test_a_transfer_whose_receiver_died_begins_anew() -> None:
    world = make_world(2)
    behind = leave_behind(world)
    wait_sent(world, 30_000)
    world.run_for(2 * T)
    world.crash(behind)
    before = world.network.bulk_bytes

    world.start(behind)
    agree(world)

    assert told(world, f"{behind}: received a snapshot") == 1
    assert world.network.bulk_bytes - before > 30_000


@pytest.mark.parametrize("seed", range(5))
def test_damage_is_noticed_and_in_the_end_all_arrives(seed: int) -> None:
    world = make_world(seed, network=NetworkConditions(damage=0.02))
    behind = leave_behind(world)

    agree(world)

    assert told(world, f"{behind}: installs the leader's snapshot") == 1


def test_newer_snapshots_do_not_restart_a_transfer() -> None:
    world = make_world(3)
    behind = leave_behind(world)
    wait_sent(world, 1000)

    write(world, 100, size=10)
    agree(world)

    assert told(world, f"member {behind} needs the snapshot") == 1
    assert told(world, f"{behind}: received a snapshot") == 1


def test_who_needs_more_than_is_kept_for_it_gets_another_snapshot() -> None:
    world = make_world(4, policy=attrs.evolve(POLICY, keep_bytes_for_followers=0))
    behind = leave_behind(world)
    wait_sent(world, 1000)

    write(world, 100, size=10)
    agree(world)

    assert told(world, f"{behind}: received a snapshot") >= 2


def test_nobody_is_deposed_by_a_transfer() -> None:
    world = make_world(5)
    leader, term = world.leader, world.process(world.leader or 0).leadership.term
    leave_behind(world)

    agree(world)

    assert leader is not None
    assert (world.leader, world.process(leader).leadership.term) == (leader, term)


def test_a_member_without_room_for_snapshots_serves_on_and_saves_one_when_there_is_room() -> None:
    world = make_world(6, network=NetworkConditions())
    leader = world.leader
    assert leader is not None
    write(world, 25)
    world.run_for(T)
    first_index = world.process(leader).member.first_index
    world.fail_disk(leader, OSError(errno.ENOSPC, "no space left"), below=SNAPSHOTS_DIRECTORY)

    write(world, 50)
    world.run_for(3 * T)
    assert world.leader == leader
    assert world.process(leader).member.first_index == first_index
    assert told(world, "is put off: could not save a snapshot: no space left") >= 2

    world.hosts[leader].disk.end_failure()
    world.run_for(10 * T)
    assert world.process(leader).member.first_index > 70


def test_a_follower_without_room_for_a_snapshot_gets_it_when_there_is_room() -> None:
    world = make_world(7)
    behind = leave_behind(world)
    wait_sent(world, 1000)
    world.run_for(T)
    world.fail_disk(behind, OSError(errno.ENOSPC, "no space left"), below=SNAPSHOTS_DIRECTORY)
    world.run_for(5 * T)
    assert behind in world.running
    assert told(world, f"{behind}: received a snapshot") == 0

    world.hosts[behind].disk.end_failure()
    agree(world)

    assert told(world, f"{behind}: received a snapshot") == 1
