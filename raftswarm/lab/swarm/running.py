"""Runs scenarios: one by its seed, or many seeds of one, and tells what came of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import process_time

import attrs
import trio

from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm.lab import Lab
from raftswarm.lab.swarm.scheduling import Scheduler, run_seeded, unwind
from raftswarm.lab.swarm.world import BugCatcher, Observer, SwarmWorld
from raftswarm.lab.trace import Trace
from raftswarm.raft.settings import RaftSettings

Scenario = Callable[[Lab], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Outcome:
    """How a run went. The same scenario with the same seed has the same digest, wherever it runs."""

    seed: int
    digest: str
    """Of all that happened: every frame, every change of the tables, every process, every fault, with its time."""
    seconds: float
    """Simulated."""
    cpu_seconds: float
    trace: Sequence[str] = ()
    """Lines, if they were kept."""
    failure: BaseException | None = None


def simulate(
    scenario: Scenario,
    *,
    seed: int = 1,
    managers: int = 3,
    workers: int = 2,
    raft: RaftSettings | None = None,
    observers: Sequence[Observer] = (),
    keep_trace: bool = False,
) -> Outcome:
    """Form a swarm in a world of its own, and let a scenario happen to it; what it raises is raised.

    The rules of the tables (`swarm_rules`) judge every command, whatever the scenario is.

    Args:
        scenario: is given the `Lab`.
        seed: all that is left to chance follows from it.
        managers: with none, the machines are the scenario's to add.
        workers: beside the managers.
        raft: settings of the managers' members.
        observers: hear of every change of the tables.
        keep_trace: keep what happened in lines, too.

    Raises:
        Violation: something does not hold that has to.
    """
    outcome = try_scenario(
        scenario,
        seed=seed,
        managers=managers,
        workers=workers,
        raft=raft,
        observers=observers,
        keep_trace=keep_trace,
    )
    if outcome.failure is not None:
        raise outcome.failure
    return outcome


def try_scenario(
    scenario: Scenario,
    *,
    seed: int,
    managers: int = 3,
    workers: int = 2,
    raft: RaftSettings | None = None,
    observers: Sequence[Observer] = (),
    keep_trace: bool = False,
) -> Outcome:
    """Do as `simulate`, with the failure in the outcome."""
    trace = Trace(enabled=True, keep_lines=keep_trace)
    ended_at = 0.0

    async def main(scheduler: Scheduler) -> BaseException | None:
        nonlocal ended_at
        async with trio.open_nursery() as nursery:
            world = SwarmWorld(seed, scheduler, nursery, trace)
            world.observers += observers
            lab = Lab(world, raft if raft is not None else RaftSettings())
            nursery.start_soon(world.agenda.run)
            with _catch_bugs(world):
                try:
                    await world.run_until_failure(lambda: _play(lab, scenario, managers, workers))
                except Exception as error:  # noqa: BLE001 - whatever a seed finds is its outcome
                    world.fail(error)
                finally:
                    ended_at = trio.current_time()
                    world.is_over = True
                    lab.clear_away()
                    await unwind(nursery)
        return world.failure

    started = process_time()
    failure = run_seeded(main, seed)
    if failure is not None:
        failure.add_note(f"seed {seed}, at {ended_at:.6f} simulated seconds")
    return Outcome(
        seed=seed,
        digest=trace.digest(),
        seconds=ended_at,
        cpu_seconds=process_time() - started,
        trace=trace.lines,
        failure=failure,
    )


async def _play(lab: Lab, scenario: Scenario, managers: int, workers: int) -> None:
    if managers:
        await lab.form(managers, workers)
    lab.note("the scenario begins")
    try:
        await scenario(lab)
    except BaseExceptionGroup as group:
        chosen = _first_of(group)
        if chosen is group:
            raise
        raise chosen from group


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """A scenario with tasks of its own fails for one reason as a rule: that is what it is to say."""
    violations, _ = group.split(Violation)
    chosen: BaseException = violations if violations is not None else group
    while isinstance(chosen, BaseExceptionGroup) and len(chosen.exceptions) == 1:
        chosen = chosen.exceptions[0]
    return chosen


@contextmanager
def _catch_bugs(world: SwarmWorld) -> Iterator[None]:
    """Hear of what the node's code logs with a traceback; let it say nothing else, whatever befalls it."""
    catcher = BugCatcher(world.fail)
    logger = logging.getLogger("raftswarm")
    logger.addHandler(catcher)
    try:
        yield
    finally:
        logger.removeHandler(catcher)
