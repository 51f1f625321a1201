"""Let a recording happen: the world it describes, its faults at their times, and in the end the healing.

The one big idea: a run that draws its faults and a run that is given them are the same run. So whatever was seen once
can be seen again, up to any step, with somebody looking on; or go on otherwise from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.clients import Clients
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.nemesis import Nemesis, Script
from raftswarm.lab.recording import CHECKPOINT_STEPS, Ending, Fork, Recording
from raftswarm.lab.seeds import run_phases
from raftswarm.lab.steps import MemberState, Step, StepLog, StopRun, read_states

Check = Callable[[CoreWorld], object]
"""Raises Violation when something does not hold that should; called after every step."""

NUMBERED: Final = re.compile(r"Violation: (\d+):")


class _ForkReached(Exception):
    """The last step before a fork is over."""


@attrs.define(eq=False)
class Replay:
    """One run of a recording."""

    recording: Recording
    log: StepLog = attrs.field(factory=StepLog, kw_only=True)
    check: Check | None = attrs.field(default=None, kw_only=True)
    until_step: float = attrs.field(default=inf, kw_only=True)
    """The last step to run."""
    is_open: bool = attrs.field(default=False, kw_only=True)
    """After its last fork faults are drawn, since nobody knows yet which there are."""
    world: CoreWorld = attrs.field(init=False)
    has_forked: bool = attrs.field(init=False, default=False)
    """All forks were reached."""
    _clients: Clients = attrs.field(init=False)
    _faults: Script | Nemesis = attrs.field(init=False)
    _forks: list[Fork] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Build the world."""
        recording, log = self.recording, self.log
        self.world = CoreWorld(
            recording.seed, members=recording.members, faults=recording.mix, trace=log, events=log.listener
        )
        self._clients = Clients(self.world)
        self._faults = Script(self.world, recording.faults)
        self._forks = list(recording.forks)
        log.watch(self.world, self._before_step)

    def run(self) -> Ending:
        """Let it happen, once, and say how it went. An exception that is no finding of the world's is raised."""
        recording, world = self.recording, self.world
        violation = ""
        try:
            self._run_forks()
            run_phases(world, self._clients, self._faults, recording.seconds, heals=recording.heals)
            self._look()
        except StopRun:
            pass
        except Exception as error:  # noqa: BLE001 - whatever a run finds is its ending
            violation = describe_failure(error)
        with suppress(StopRun):
            self.log.end_step()
        if self.log.observer_failure is not None:
            raise self.log.observer_failure
        return Ending(
            steps=world.heap.events_run,
            at=world.now,
            digest=self.log.digest(),
            checkpoints=tuple(self.log.checkpoints),
            violation=violation,
        )

    def _run_forks(self) -> None:
        """Run up to the last fork; what is planned then stays planned."""
        while self._forks:
            try:
                self.world.heap.run_until(self.recording.seconds)
            except _ForkReached:
                self._fork(self._forks.pop(0))
            else:
                return

    def _look(self) -> None:
        if self.check is not None:
            self.check(self.world)

    def _before_step(self, number: int) -> None:
        self._look()
        if number > self.until_step:
            raise StopRun
        if self._forks and self._forks[0].after_step < number:
            raise _ForkReached

    def _fork(self, fork: Fork) -> None:
        self.world.reseed(fork.seed)
        self.has_forked = not self._forks
        if self.is_open and not self._forks:
            self._faults.stop()
            self._faults = Nemesis(self.world)


def run_recording(recording: Recording, *, check: Check | None = None) -> Ending:
    """Let a recording happen and say how it went."""
    return Replay(recording, check=check).run()


def describe_failure(error: BaseException) -> str:
    """Put what a run found into a line."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def failure_kind(violation: str) -> str:
    """Return what two failures have in common that are of one kind: an invariant's number, or words without numbers."""
    numbered = NUMBERED.match(violation)
    return numbered[0] if numbered else re.sub(r"[\d.]+|\[.*?\]", "#", violation)


def find_departure(known: Ending, now: Ending) -> int | None:
    """Return a step behind which two runs differ, by their digests; None if they are the same."""
    if (known.steps, known.digest, known.violation) == (now.steps, now.digest, now.violation):
        return None
    same = 0
    for one, other in zip(known.checkpoints, now.checkpoints, strict=False):
        if one != other:
            break
        same += 1
    return same * CHECKPOINT_STEPS


def fork_recording(recording: Recording, after_step: int, seed: int) -> Recording:
    """Let the run be the same up to that step, draw anew what happens then, and return the recording of that.

    Raises:
        InvalidSpec: the faults have ended by then, or it has forked later already.
    """
    forks = (*recording.forks, Fork(after_step=after_step, seed=seed))
    if len(forks) > 1 and forks[-2].after_step >= after_step:
        raise InvalidSpec(f"this run forks after step {forks[-2].after_step} already; fork it later, or its origin")
    forked = msgspec.structs.replace(recording, forks=forks, ending=None)
    replay = Replay(forked, is_open=True)
    ending = replay.run()
    if not replay.has_forked:
        raise InvalidSpec(f"this run has no step {after_step + 1} before its faults end; fork it earlier")
    faults = tuple(event for event in replay.world.struck if event.at <= recording.seconds)
    return msgspec.structs.replace(forked, faults=faults, ending=ending)


def look_at_steps(
    recording: Recording, first: int, count: int, *, with_quiet: bool = False
) -> Iterator[tuple[Step, Mapping[int, MemberState]]]:
    """Return steps from `first` on, each with all members at its end; quiet ones only if asked for.

    Raises:
        InvalidSpec: the run is over by then, or nothing is told any more.
    """
    seen: list[tuple[Step, Mapping[int, MemberState]]] = []

    def observe(step: Step, world: CoreWorld) -> None:
        if with_quiet or not step.is_quiet:
            seen.append((step, read_states(world)))
        if len(seen) == count:
            raise StopRun

    ending = Replay(recording, log=StepLog(first=first, observe=observe)).run()
    if not seen:
        raise InvalidSpec(f"this run has {ending.steps} steps, from 0 on; nothing is told from step {first} on")
    yield from seen
