"""A full disk: refuse, hand over, go on when there is room; a sync that fails is the end of the process."""

from __future__ import annotations

import errno

import pytest

from raftswarm.errors import Overloaded
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import FailDisk, MendDisk
from raftswarm.lab.phases import scan_durability
from raftswarm.lab.trace import Trace
from tests.lab.steps import T, agree, finish, followers, lead, succeed, write


def make_world(seed: int, members: int = 3) -> CoreWorld:
    return CoreWorld(seed, members=members, trace=Trace(enabled=True))


def fill(world: CoreWorld, *members: int) -> None:
    for member in members:
        assert world.apply(FailDisk(member, errno.ENOSPC))


def make_room(world: CoreWorld, *members: int) -> None:
    for member in members:
        assert world.apply(MendDisk(member))


def told(world: CoreWorld, words: str) -> int:
    return sum(words in line for line in world.trace.lines)


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_leader_whose_disk_is_full_hands_over_and_is_a_member_again_when_there_is_room(seed: int) -> None:
    world = make_world(seed)
    leader = lead(world)
    write(world, b"before")
    fill(world, leader)

    write(world, b"meanwhile")  # The others have it on their disks: that is enough.
    other = succeed(world, leader, within_seconds=2 * T)
    write(world, b"after")

    assert leader in world.running, "nothing that it was told is in doubt"
    assert told(world, f"{leader}: its disk is full, and what it has to write waits") == 1
    assert told(world, f"{leader}: hands leadership to member {other}: a write has taken longer") == 1
    make_room(world, leader)
    agree(world, b"before", b"meanwhile", b"after")
    assert told(world, f"{leader}: there is room on its disk again") == 1
    scan_durability(world)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_follower_whose_disk_is_full_holds_nobody_up_and_catches_up(seed: int) -> None:
    world = make_world(seed)
    leader = lead(world)
    behind = followers(world)[0]
    fill(world, behind)
    for number in range(20):
        write(world, b"%d" % number)
    assert world.leader == leader

    make_room(world, behind)

    agree(world, *(b"%d" % number for number in range(20)))
    scan_durability(world)


@pytest.mark.parametrize("seed", range(1, 6))
def test_when_all_disks_are_full_callers_are_told_at_once_and_nothing_is_lost(seed: int) -> None:
    world = make_world(seed)
    leader = lead(world)
    write(world, b"before")
    fill(world, *world.hosts)
    waiting = world.propose(b"it may happen")
    world.run_for(0.1)

    refused = finish(world, world.propose(b"refused"), within_seconds=0.1)
    assert isinstance(refused.error, Overloaded)
    assert "nothing can be written here now: could not write to the log" in str(refused.error)
    assert "make room on that disk" in str(refused.error)
    world.run_for(5 * T)
    assert sorted(world.running) == sorted(world.hosts)

    make_room(world, *world.hosts)
    world.run_until(lambda: world.leader is not None, within_seconds=5 * T, what="a leader")
    finish(world, waiting, within_seconds=10 * T)
    write(world, b"after")
    scan_durability(world)
    assert leader in world.hosts


def test_the_only_member_goes_on_by_itself_when_there_is_room() -> None:
    world = make_world(1, members=1)
    lead(world)
    fill(world, 1)
    waiting = world.propose(b"waits")
    world.run_for(3 * T)
    assert waiting.ended_at is None

    make_room(world, 1)

    assert finish(world, waiting, within_seconds=T).error is None
    agree(world, b"waits")


def test_a_failed_sync_ends_the_process_with_a_sentence() -> None:
    world = make_world(2)
    leader = lead(world)
    assert world.apply(FailDisk(leader, errno.EIO, "sync"))

    world.propose(b"one")
    world.run_for(T)

    assert leader not in world.running
    assert told(world, "could not write to raft/log/") == 1
    succeed(world, leader, within_seconds=3 * T)


def test_a_sync_that_finds_no_room_is_as_final_as_any_other() -> None:
    world = make_world(3)
    leader = lead(world)
    assert world.apply(FailDisk(leader, errno.ENOSPC, "sync"))

    world.propose(b"one")
    world.run_for(T)

    assert leader not in world.running
    assert told(world, "make room on that disk, then restart this member") == 1
