"""Where do two runs part? The first step after which they have not told the same, with what everybody was then."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.recording import Recording
from raftswarm.lab.replaying import Replay
from raftswarm.lab.steps import MemberState, Step, StepLog, StopRun, read_states


class Side(msgspec.Struct, kw_only=True):
    """What one of the runs did in that step."""

    event: str = "the run is over"
    at: float = 0.0
    lines: list[str] = []
    states: list[MemberState] = []
    """Of all members, at its end."""


class Difference(msgspec.Struct, kw_only=True):
    """Two runs are the same up to a step, and then are not."""

    step: int
    before: list[MemberState]
    """What the members were in both until then."""
    one: Side
    other: Side


def find_difference(one: Recording, other: Recording) -> Difference | None:
    """Let both happen and compare them step by step; None if they tell the same from beginning to end."""
    digests = _digest_steps(one)
    step = _find_first(digests, other)
    if step is None:
        return None
    before, this = _look_at(one, step)
    _, that = _look_at(other, step)
    return Difference(step=step, before=before, one=this, other=that)


def _digest_steps(recording: Recording) -> list[str]:
    digests: list[str] = []
    _follow(recording, lambda step, digest: digests.append(_mark(step, digest)))
    return digests


def _find_first(digests: list[str], recording: Recording) -> int | None:
    """Return the first step whose digest is another one, or which only one of the runs has."""
    steps = 0
    parted = False

    def compare(step: Step, digest: str) -> None:
        nonlocal steps, parted
        if step.number >= len(digests) or digests[step.number] != _mark(step, digest):
            parted = True
            raise StopRun
        steps += 1

    _follow(recording, compare)
    return steps if parted or steps < len(digests) else None


def _mark(step: Step, digest: str) -> str:
    return f"{step.at:.9f} {digest}"


def _follow(recording: Recording, hear: Callable[[Step, str], object]) -> None:
    log = StepLog(first=0, observe=lambda step, _: hear(step, log.digest()))
    Replay(recording, log=log).run()


def _look_at(recording: Recording, number: int) -> tuple[list[MemberState], Side]:
    """Return what the members were before that step, and what happened in it."""
    before: list[MemberState] = []
    side = Side()

    def look(step: Step, world: CoreWorld) -> None:
        states = list(read_states(world).values())
        if step.number < number:
            before[:] = states
        else:
            side.event, side.at, side.lines, side.states = step.event, step.at, list(step.lines), states

    Replay(recording, log=StepLog(first=number - 1, observe=look), until_step=number).run()
    return before, side
