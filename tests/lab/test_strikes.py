"""What each kind of fault does to a cluster, and that damage is dealt out only as a cluster survives it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.conditions import DiskConditions, NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    AddMachine,
    ChangeMembers,
    Clog,
    Crash,
    CrashInTurn,
    FailDisk,
    Fault,
    FlipBit,
    HalfOpen,
    JumpWall,
    KeepCopy,
    LieOnSync,
    Lose,
    LoseName,
    MendDisk,
    Misdirect,
    Pause,
    PutBack,
    Reconnect,
    Resume,
    SetClockRate,
    SetLink,
    Start,
    Unclog,
)
from raftswarm.lab.faults import CALM, FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.member_changes import replace_lost
from raftswarm.lab.phases import check_liveness, scan_durability
from raftswarm.raft.events import Transition
from raftswarm.raft.settings import RaftSettings
from raftswarm.storage import segment
from tests.lab.steps import T, agree, finish, followers, journal, lead, succeed, write

POWER_LOST = 7
"""With this seed."""


def strike(world: CoreWorld, *faults: Fault) -> None:
    for fault in faults:
        assert world.apply(fault), f"{fault} did not strike"


def busy(world: CoreWorld, writes: int = 10) -> int:
    """Write something; return a follower that has it."""
    leader = lead(world)
    for number in range(writes):
        write(world, b"%d" % number)
    world.run_for(T)
    return next(member for member in followers(world) if member != leader)


# Processes.


def test_what_does_not_fit_the_moment_does_nothing_and_is_not_on_the_list() -> None:
    world = CoreWorld(1)
    lead(world)

    assert not world.apply(Start(1))
    assert not world.apply(Crash(9))
    assert not world.apply(Resume(1))
    assert not world.apply(Unclog(1, 2))
    assert not world.apply(Reconnect(1, 1))

    assert world.struck == []


def test_a_process_can_die_when_some_messages_of_a_turn_have_left() -> None:
    world = CoreWorld(2)
    old = lead(world)
    world.run_for(T)

    strike(world, CrashInTurn(old, messages=1))
    call = world.propose(b"maybe", member=old)
    succeed(world, old, within_seconds=2.2 * T)

    assert world.hosts[old].process is None
    assert call.error is not None
    write(world, b"after")
    strike(world, Start(old))
    world.run_until(lambda: b"after" in journal(world, old), within_seconds=5 * T)


def test_a_machine_whose_clock_stands_sleeps_without_growing_older() -> None:
    world = CoreWorld(3)
    lead(world)
    member = followers(world)[0]
    clock = world.hosts[member].clock
    before = clock.now()

    strike(world, Pause(member, clock_stands=True))
    world.run_for(50 * T)
    strike(world, Resume(member))

    assert clock.now() == pytest.approx(before)
    write(world, b"one")
    agree(world, b"one")


def test_no_clock_stands_where_leases_count_on_it() -> None:
    world = CoreWorld(3, settings=RaftSettings(lease_reads=True))
    lead(world)

    assert not world.apply(Pause(1, clock_stands=True))
    assert not world.apply(SetClockRate(1, 2.0))


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_a_clock_that_changes_its_rate_goes_on_from_where_it_is(rate: float) -> None:
    world = CoreWorld(4, faults=FaultMix(clock_spread=1.0))
    leader = lead(world)
    clock = world.hosts[leader].clock
    before = clock.now()

    strike(world, SetClockRate(leader, rate), JumpWall(leader, -7200.0))
    assert clock.now() == pytest.approx(before)
    world.run_for(10.0)

    assert clock.now() == pytest.approx(before + 10.0 * rate)
    write(world, b"one")


# Disks.


def test_a_full_disk_is_full_for_the_next_process_too_until_there_is_room() -> None:
    world = CoreWorld(5)
    member = busy(world)
    strike(world, FailDisk(member, errno.ENOSPC))
    write(world, b"one")
    world.run_for(T)
    assert world.hosts[member].process is not None

    strike(world, Crash(member), Start(member))
    assert world.hosts[member].process is None
    strike(world, MendDisk(member), Start(member))

    world.run_until(lambda: b"one" in journal(world, member), within_seconds=5 * T)


def test_a_disk_that_cannot_be_read_keeps_a_member_down() -> None:
    world = CoreWorld(6)
    member = busy(world)
    strike(world, Crash(member), FailDisk(member, errno.EIO, "read"), Start(member))
    assert world.hosts[member].process is None

    strike(world, MendDisk(member), Start(member))

    assert world.hosts[member].process is not None


def test_a_bit_that_flips_in_the_log_is_found_at_the_next_start() -> None:
    world = CoreWorld(7)
    member = busy(world)

    strike(world, FlipBit(member, place=0.0), Start(member))

    assert world.outcomes == {"CorruptLog": 1}
    assert world.hosts[member].is_lost


def test_every_bit_that_flips_is_found_or_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where reading takes damage for a torn tail, the world says so: a planted bug."""

    def try_places() -> None:
        for place in range(20):
            world = CoreWorld(8)
            member = busy(world, writes=3)
            strike(world, FlipBit(member, place / 20), Start(member))

    try_places()
    monkeypatch.setattr(segment, "_is_proven_durable", lambda *_: False)

    with pytest.raises(Violation, match=r"^19:"):
        try_places()


@pytest.mark.parametrize("damage", [lambda member: Misdirect(member, 0.05), lambda member: LoseName(member, 0.99)])
def test_what_else_is_wrong_with_a_log_is_found_too(damage: Callable[[int], Fault]) -> None:
    world = CoreWorld(9)
    member = busy(world)
    strike(world, damage(member))
    write(world, b"one", b"two")
    world.run_for(T)
    if world.hosts[member].process is not None:
        strike(world, Crash(member))

    strike(world, Start(member))

    assert world.hosts[member].is_lost
    assert sum(world.outcomes.values()) == 1


def test_a_sync_that_lied_comes_to_light_when_the_power_fails() -> None:
    world = CoreWorld(10)
    member = busy(world)
    strike(world, LieOnSync(member))
    write(world, b"one")
    world.run_for(T)
    assert world.hosts[member].process is None, "a sync failed"
    strike(world, Start(member))
    write(world, b"two")
    world.run_for(T)

    strike(world, Crash(member, tearing=POWER_LOST), Start(member))

    assert world.hosts[member].is_lost


@pytest.mark.parametrize("seed", range(5))
def test_a_disk_that_is_set_back_is_noticed_by_the_others(seed: int) -> None:
    world = CoreWorld(seed)
    member = busy(world)
    strike(world, KeepCopy(member), Crash(member), Start(member))
    write(world, b"since")
    world.run_for(T)

    strike(world, PutBack(member))
    assert not world.apply(Crash(lead(world))), "nobody who remembers is made to forget"
    world.run_until(lambda: world.hosts[member].is_lost, within_seconds=3 * T, what="a member that is told")

    assert world.outcomes == {"regressed": 1}
    assert world.suspect is None


def test_a_vote_that_comes_back_after_a_joint_change_is_reckoned_with() -> None:
    """Seed 215: with it the cluster needed three of four, of which two were gone."""
    world = CoreWorld(1)
    lead(world)
    strike(world, AddMachine(4), AddMachine(5))
    strike(world, ChangeMembers((1, 4, 5), (3,), (3,), Transition.EXPLICIT))
    world.run_until(lambda: world.configuration.is_joint, within_seconds=5 * T, what="a joint configuration")
    world.run_for(2 * T)

    strike(world, Lose(5))

    assert not world.apply(Lose(3))


def test_no_more_is_damaged_than_the_cluster_survives() -> None:
    world = CoreWorld(11, members=5)
    lead(world)

    strike(world, Lose(1), FlipBit(2, 0.5))

    for fault in (Lose(3), FlipBit(3, 0.1), LoseName(4, 0.1), Misdirect(5, 0.1), LieOnSync(3)):
        assert not world.apply(fault)
    succeed(world, 1, within_seconds=4 * T)
    write(world, b"one")


def test_a_change_that_counts_on_who_is_lost_is_not_asked_for() -> None:
    world = CoreWorld(12)
    member = busy(world)
    strike(world, Lose(member))

    leader = lead(world)
    assert not world.apply(ChangeMembers((leader, member)))
    assert not world.apply(ChangeMembers((leader,), (member,), promised=(member,)))
    assert world.apply(ChangeMembers((leader,), (member,)))


def test_who_is_lost_is_replaced() -> None:
    world = CoreWorld(13)
    member = busy(world)
    strike(world, Lose(member))

    for fault in replace_lost(world):
        strike(world, fault)
    world.run_for(3 * T)

    assert [info.id for info in world.configuration.voters] == sorted({1, 2, 3, 4} - {member})
    assert not list(replace_lost(world))


def test_a_machine_is_added_once() -> None:
    world = CoreWorld(14)

    strike(world, AddMachine(4))

    assert not world.apply(AddMachine(4))
    assert world.hosts[4].process is not None


# Links.


def test_a_clogged_link_holds_what_is_said_and_a_new_connection_overtakes_it() -> None:
    world = CoreWorld(15, members=2)
    leader = lead(world)
    (other,) = followers(world)
    strike(world, Clog(leader, other))
    call = world.propose(b"one")
    world.run_for(T / 2)
    assert call.ended_at is None

    strike(world, Reconnect(leader, other), Unclog(leader, other))

    assert finish(world, call).error is None


def test_a_half_open_connection_swallows_everything_until_it_is_opened_anew() -> None:
    world = CoreWorld(16, members=2)
    leader = lead(world)
    (other,) = followers(world)
    strike(world, HalfOpen(leader, other))
    call = world.propose(b"one")
    world.run_for(T / 2)
    assert call.ended_at is None

    strike(world, Reconnect(leader, other))

    assert finish(world, call).error is None


def test_a_slow_reader_behind_a_short_queue_gets_everything_in_the_end() -> None:
    world = CoreWorld(17, compaction=CompactionPolicy(snapshot_every_commands=1000))
    leader = lead(world)
    behind = followers(world)[0]

    strike(world, SetLink(leader, behind, NetworkConditions(capacity=1, reading_seconds=0.02)))
    commands = [b"%d" % number for number in range(20)]
    write(world, *commands)

    agree(world, *commands)


# What comes back.


def test_damaged_members_are_taken_away_and_replaced_before_all_is_well() -> None:
    world = CoreWorld(18, members=5)
    member = busy(world)
    strike(world, LieOnSync(member), Misdirect(next(m for m in followers(world) if m != member), 0.3))
    write(world, b"one")

    check_liveness(world)

    assert member not in world.configuration.member_ids
    assert len(world.configuration.voters) == 5


def test_a_machine_that_replaces_another_while_all_is_healed_has_a_disk_in_order() -> None:
    """With one as slow as the others' were, it could not catch up in time (seed 9, five members, 60 s)."""
    world = CoreWorld(18, faults=FaultMix(disk=DiskConditions(jitter_seconds=0.05)))
    strike(world, Lose(busy(world)))

    check_liveness(world)

    assert world.hosts[4].latency == CALM.disk


def test_what_vanished_from_a_disk_is_found_at_the_end() -> None:
    """A planted loss: a file of a log is not there any more, and nobody knows."""
    world = CoreWorld(19)
    member = busy(world)
    disk = world.hosts[member].disk
    disk.lose_name(next(iter(disk.sizes("raft/log"))))

    with pytest.raises(Violation, match="cannot be read back"):
        scan_durability(world)


def test_a_member_whose_newest_file_is_gone_is_taken_for_one_that_forgot() -> None:
    """Nothing on its disk says that it was there, and the boot it counted is lost: others would tell it."""
    world = CoreWorld(20)
    member = busy(world)
    names = list(world.hosts[member].disk.sizes("raft"))

    strike(world, LoseName(member, (len(names) - 0.5) / len(names)), Start(member))

    assert world.outcomes == {"less": 1}
    assert world.hosts[member].is_lost
