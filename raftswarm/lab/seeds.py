"""Run worlds by the seed: faults at will, in which nothing may be violated, then the phases in which all comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from raftswarm.lab.clients import Clients
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.faults import draw_fault_mix
from raftswarm.lab.nemesis import Nemesis, Script
from raftswarm.lab.phases import check_liveness
from raftswarm.lab.recording import Recording
from raftswarm.lab.trace import Trace
from raftswarm.raft.tracing import TraceSink


@attrs.frozen(kw_only=True)
class SeedOutcome:
    """How one seed's world went."""

    seed: int
    seconds: float
    """Simulated, of the phase with faults."""
    members: int
    events: int
    calls: int
    """Of clients, in that phase."""
    struck: Sequence[FaultEvent]
    """Every fault that struck, in order: the same seed with these is the same run."""
    struck_by_kind: Mapping[str, int]
    strikes: Mapping[str, int]
    """Of every kind of strike that the seed drew: how many made a difference. A script has none."""
    outcomes: Mapping[str, int]
    """What came of damaged disks."""
    acknowledged: int
    last_committed: int
    digest: str
    """Of the trace, when there was one."""
    recording: Recording
    """Of the same run; how it ended is not in it."""
    ended_at: float
    """Simulated seconds, all phases."""
    coverage: Coverage
    """What was reached, all phases."""
    failure: BaseException | None = None


def run_seeds(
    first: int, count: int, seconds: float, report: Callable[[SeedOutcome], None] | None = None
) -> list[SeedOutcome]:
    """Run so many worlds; `report` hears of each as it ends. Returns those that failed."""
    failed = []
    for seed in range(first, first + count):
        outcome = run_seed(seed, seconds)
        if report is not None:
            report(outcome)
        if outcome.failure is not None:
            failed.append(outcome)
    return failed


def run_seed(
    seed: int,
    seconds: float,
    *,
    members: int | None = None,
    script: Sequence[FaultEvent] | None = None,
    trace: Trace | None = None,
    events: TraceSink | None = None,
) -> SeedOutcome:
    """Run one world through all phases. A failure is in the outcome, with the simulated time as a note.

    Faults are drawn from the seed, or are those of the `script`; so is the number of members, unless it is given.
    `trace` collects lines for people; `events` hears of every state change (docs/formats.md).
    """
    world = draw_world(seed, members=members, trace=trace, events=events)
    founders = len(world.hosts)
    clients = Clients(world)
    nemesis = Nemesis(world) if script is None else Script(world, script)
    failure: BaseException | None = None
    try:
        run_phases(world, clients, nemesis, seconds)
    except Exception as error:  # noqa: BLE001 - whatever a seed finds is its outcome
        error.add_note(f"seed {seed}, at {world.now:.6f} simulated seconds, after {world.heap.events_run} events")
        failure = error
    return SeedOutcome(
        seed=seed,
        seconds=seconds,
        members=len(world.hosts),
        events=world.heap.events_run,
        calls=clients.calls,
        struck=world.struck,
        struck_by_kind=world.struck_by_kind,
        strikes=nemesis.strikes if isinstance(nemesis, Nemesis) else {},
        outcomes=world.outcomes,
        acknowledged=world.history.acknowledged_writes + world.history.acknowledged_reads,
        last_committed=world.invariants.last_committed,
        digest=world.trace.digest(),
        recording=Recording(seed=seed, members=founders, seconds=seconds, mix=world.faults, faults=tuple(world.struck)),
        ended_at=world.now,
        coverage=world.onlooker.coverage,
        failure=failure,
    )


def run_phases(
    world: CoreWorld, clients: Clients, faults: Nemesis | Script, seconds: float, *, heals: bool = True
) -> None:
    """Run a world to the end of its faults, and, if it `heals`, on until everything has come back."""
    world.heap.run_until(seconds)
    faults.stop()
    clients.stop()
    if heals:
        check_liveness(world)


def draw_world(
    seed: int, *, members: int | None = None, trace: Trace | None = None, events: TraceSink | None = None
) -> CoreWorld:
    """Build the world of a seed: how many members, and which faults."""
    chance = CoreWorld.chance_of(seed, "mix")
    drawn = chance.choice((1, 2, 3, 3, 3, 4, 5, 5))
    return CoreWorld(seed, members=members or drawn, faults=draw_fault_mix(chance), trace=trace, events=events)
