"""A peer's bytes never stop a member, and what could not be true changes neither its term and vote nor its log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import Crash, Nonsense, Start
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.nonsense import NONSENSE
from raftswarm.raft.settings import RaftSettings
from tests.lab.steps import T, agree, followers, journal, lead, write

COMMANDS = tuple(b"%d" % number for number in range(6))


def worlds() -> Iterator[CoreWorld]:
    """A quiet one; one with a change of leaders in its log; one whose member has just been started."""
    for leases in (False, True):
        world = CoreWorld(4, faults=FaultMix(settings=RaftSettings(lease_reads=leases)))
        leader = lead(world)
        write(world, *COMMANDS[:3])
        world.run_for(T)
        yield world
        world.apply(Crash(leader))
        world.run_for(4 * T)
        write(world, *COMMANDS[3:])
        world.apply(Start(leader))
        world.run_until(lambda: world.process(leader).member.leader != 0, within_seconds=9 * T, what="a follower")  # noqa: B023
        yield world


def picture(world: CoreWorld) -> list[tuple[object, ...]]:
    members = [world.process(member).member for member in world.running]
    return [
        (
            member.hard_state,
            member.leader,
            member.commit_index,
            member.last_index,
            member.last_term,
            member.is_regressed,
        )
        for member in members
    ]


def ways(world: CoreWorld) -> list[tuple[int, int]]:
    return [(sender, receiver) for sender in world.hosts for receiver in world.hosts if sender != receiver]


RUMOURS = [what for what in NONSENSE if what.startswith("rumour_")]


@pytest.mark.parametrize("what", [what for what in NONSENSE if what not in RUMOURS])
def test_it_fits_some_moment_and_changes_nothing_that_counts(what: str) -> None:
    struck = 0
    for world in worlds():
        for sender, receiver in ways(world):
            world.run_until(lambda: world.process(receiver).is_at_rest, within_seconds=T, what="rest")  # noqa: B023
            before = picture(world)
            if world.apply(Nonsense(sender, receiver, what)):
                struck += 1
                world.run_for(0.002)
                assert picture(world) == before
    assert struck


@pytest.mark.parametrize("what", RUMOURS)
def test_a_rumour_of_a_later_term_changes_no_log(what: str) -> None:
    for world in worlds():
        world.apply(Nonsense(*ways(world)[0], what))
        world.run_for(5 * T)
        agree(world, *COMMANDS[:3], *(COMMANDS[3:] if len(journal(world, 1)) > 3 else ()))


def test_a_cluster_that_hears_much_nonsense_serves() -> None:
    world = CoreWorld(5)
    lead(world)
    for command in COMMANDS:
        for sender, receiver in ways(world):
            for what in NONSENSE:
                world.apply(Nonsense(sender, receiver, what))
                world.run_for(0.001)
        lead(world)
        write(world, command)

    agree(world, *COMMANDS)


def test_it_says_nothing_that_has_no_name_and_nothing_to_who_is_down() -> None:
    world = CoreWorld(6)
    lead(world)
    [member, other] = followers(world)

    assert not world.apply(Nonsense(member, other, "something_else"))
    world.apply(Crash(other))
    assert not world.apply(Nonsense(member, other, "negative_term"))


def test_without_the_check_of_messages_it_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: nothing is looked at before it is taken in."""
    monkeypatch.setattr("raftswarm.raft.member.find_fault", lambda _: "")
    world = CoreWorld(7)
    leader = lead(world)
    write(world, *COMMANDS)
    world.run_for(T)
    member = followers(world)[0]

    def say_all() -> None:
        for what in NONSENSE:
            world.apply(Nonsense(leader, member, what))
            world.run_for(0.01)

    with pytest.raises((Violation, AssertionError)):
        say_all()
