"""Programs of clients in a core world."""

from __future__ import annotations

import pytest

from raftswarm.errors import NotLeader, OutcomeUnknown, RaftSwarmError
from raftswarm.lab import Caller, CoreWorld
from raftswarm.recipes import RecipeMachine, ReplicatedCounter


def make_world(seed: int) -> CoreWorld:
    world = CoreWorld(seed, make_machine=RecipeMachine)
    world.run_until(lambda: world.leader is not None, within_seconds=4.0, what="a first leader")
    return world


def make_caller(world: CoreWorld) -> Caller:
    return Caller(world, world.chance("caller"))


def test_a_program_awaits_the_clusters_answers() -> None:
    world = make_world(1)
    caller = make_caller(world)
    seen: list[object] = []

    async def count_to_three() -> None:
        counter = ReplicatedCounter(caller, "n")
        while len(seen) < 3:
            await caller.sleep(0.1)
            try:
                seen.append(await counter.add())
            except NotLeader:
                continue
        seen.append(await counter.value())

    caller.start(count_to_three())
    world.run_until(lambda: len(seen) == 4, within_seconds=5.0, what="an end of the program")

    assert seen == [1, 2, 3, 3]
    assert world.now > 0.3


def test_a_member_that_dies_leaves_the_outcome_unknown() -> None:
    world = make_world(2)
    leader = world.leader
    assert leader is not None
    errors: list[RaftSwarmError] = []

    async def write() -> None:
        try:
            await ReplicatedCounter(make_caller(world), "n").add()
        except RaftSwarmError as error:
            errors.append(error)

    world.isolate(leader)
    make_caller(world).start(write())
    world.run_for(0.01)
    world.crash(leader)
    world.run_for(0.01)

    assert [type(error) for error in errors] == [OutcomeUnknown]


def test_whoever_is_not_leader_says_so() -> None:
    world = CoreWorld(3, make_machine=RecipeMachine)
    errors: list[RaftSwarmError] = []

    async def write() -> None:
        try:
            await ReplicatedCounter(make_caller(world), "n").add()
        except NotLeader as error:
            errors.append(error)

    make_caller(world).start(write())
    world.run_for(0.1)

    assert len(errors) == 1


def test_an_error_of_a_program_ends_the_run() -> None:
    world = make_world(4)

    async def fail() -> None:
        await make_caller(world).sleep(0.1)
        raise KeyError("mine")

    make_caller(world).start(fail())

    with pytest.raises(KeyError, match="mine"):
        world.run_for(1.0)
