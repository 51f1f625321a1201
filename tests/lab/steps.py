"""What scenarios in the core world are told in: lead, write, agree."""

from __future__ import annotations

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.history import Call
from raftswarm.lab.journal import Journal

T = 1.0
"""The election timeout of the default settings."""


def lead(world: CoreWorld) -> int:
    """Wait for a leader."""
    world.run_until(lambda: world.leader is not None, within_seconds=4 * T, what="a first leader")
    assert world.leader is not None
    return world.leader


def succeed(world: CoreWorld, old: int, *, within_seconds: float) -> int:
    """Wait for another leader."""
    world.run_until(
        lambda: world.leader not in {None, old}, within_seconds=within_seconds, what=f"a successor of {old}"
    )
    assert world.leader is not None
    return world.leader


def finish(world: CoreWorld, call: Call, *, within_seconds: float = 5.0) -> Call:
    world.run_until(lambda: call.ended_at is not None, within_seconds=within_seconds, what="an answer")
    return call


def write(world: CoreWorld, *commands: bytes) -> None:
    """Write through the leader, and see it acknowledged."""
    calls = [world.propose(command) for command in commands]
    for call in calls:
        assert finish(world, call).error is None


def journal(world: CoreWorld, member: int) -> list[bytes]:
    machine = world.process(member).machine.machine
    assert isinstance(machine, Journal)
    return machine.last


def agree(world: CoreWorld, *commands: bytes) -> None:
    """Wait until every running member has exactly these commands."""
    world.run_until(
        lambda: all(journal(world, member) == list(commands) for member in world.running),
        within_seconds=10.0,
        what="agreement",
    )


def followers(world: CoreWorld) -> list[int]:
    return [member for member in world.running if member != world.leader]
