"""Run worlds by the seed: faults at will, then healing, and what must come back with it.

Safety: any faults, nothing may be violated. Liveness: a random quorum is healed and everything else stays cut off; a
leader comes within ten election timeouts and serves. Then all is healed: all members converge on one state, in which
every acknowledged write is.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import draw_fault_mix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.trace import Trace
from raftswarm.raft.tracing import TraceSink

CONVERGE_WITHIN_SECONDS = 30.0
FRESH_WRITES = 10


@attrs.frozen(kw_only=True)
class SeedOutcome:
    """How one seed's world went."""

    seed: int
    seconds: float
    """Simulated, of the phase with faults."""
    members: int
    events: int
    strikes: int
    """Faults and client calls."""
    acknowledged: int
    last_committed: int
    digest: str
    """Of the trace, when there was one."""
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


def run_seed(seed: int, seconds: float, *, trace: Trace | None = None, events: TraceSink | None = None) -> SeedOutcome:
    """Run one world through all phases. A failure is in the outcome, with the simulated time as a note.

    `trace` collects lines for people; `events` hears of every state change (docs/formats.md).
    """
    world = draw_world(seed, trace=trace, events=events)
    nemesis = Nemesis(world)
    failure: BaseException | None = None
    try:
        world.run_for(seconds)
        nemesis.stop()
        check_liveness(world, nemesis)
    except Exception as error:  # noqa: BLE001 - whatever a seed finds is its outcome
        error.add_note(f"seed {seed}, at {world.now:.6f} simulated seconds, after {world.heap.events_run} events")
        failure = error
    return SeedOutcome(
        seed=seed,
        seconds=seconds,
        members=len(world.hosts),
        events=world.heap.events_run,
        strikes=nemesis.strikes,
        acknowledged=world.history.acknowledged_writes + world.history.acknowledged_reads,
        last_committed=world.invariants.last_committed,
        digest=world.trace.digest(),
        failure=failure,
    )


def draw_world(seed: int, *, trace: Trace | None = None, events: TraceSink | None = None) -> CoreWorld:
    """Build the world of a seed: how many members, and which faults."""
    chance = CoreWorld.chance_of(seed, "mix")
    members = chance.choice((1, 2, 3, 3, 3, 4, 5, 5))
    return CoreWorld(seed, members=members, faults=draw_fault_mix(chance), trace=trace, events=events)


def check_liveness(world: CoreWorld, nemesis: Nemesis) -> None:
    """Heal the world step by step and require what must come back, or raise Violation; the nemesis has stopped."""
    core = nemesis.heal_core()
    slowest = min(host.clock.rate for host in world.hosts.values())
    patience = 10 * world.settings.election_seconds / slowest
    world.run_until(lambda: world.leader in core, within_seconds=patience, what=f"a leader among {core}")
    _write(world, core)
    nemesis.heal_all()
    world.run_until(lambda: world.leader is not None, within_seconds=patience, what="a leader among all")
    _write(world, None)
    _finish_changes(world)
    world.run_until(lambda: _converged(world), within_seconds=CONVERGE_WITHIN_SECONDS, what="agreement of all members")
    world.run_until(
        lambda: not world.history.pending, within_seconds=CONVERGE_WITHIN_SECONDS, what="an end of every call"
    )


def _write(world: CoreWorld, core: list[int] | None) -> None:
    """Writes and a read succeed, one after another, with the leader that is there; it may still change hands."""
    left = FRESH_WRITES
    until = world.now + CONVERGE_WITHIN_SECONDS
    while left:
        members = [world.leader] if core is None or world.leader in core else core
        member = members[0]
        call = world.propose(b"fresh", member=member) if left > 1 else world.read(member=member)
        world.run_until(
            lambda call=call: call.ended_at is not None,  # type: ignore[misc]
            within_seconds=until - world.now,
            what=f"an answer to call {call.number}",
        )
        if call.acknowledged:
            left -= 1
        else:
            world.run_for(0.05)


def _finish_changes(world: CoreWorld) -> None:
    """Learners get the vote they were promised, and what is joint is left: by itself, or when somebody asks."""
    until = world.now + CONVERGE_WITHIN_SECONDS
    while world.configuration.is_joint or any(info.promote for info in world.configuration.learners):
        if world.now > until:
            raise Violation(f"changes of the members did not end within {CONVERGE_WITHIN_SECONDS:g} s")
        if world.configuration.is_joint and not world.configuration.auto_leave:
            world.leave_joint()
        world.run_for(0.1)


def _converged(world: CoreWorld) -> bool:
    """All members of the configuration have applied everything, acknowledged or not."""
    leader = world.leader
    if leader is None:
        return False
    applied = world.process(leader).replica.applied
    if applied.index < world.invariants.last_committed or applied.commands < world.history.last_acknowledged_command:
        return False
    members = world.hosts[leader].configuration.member_ids
    processes = [world.hosts[member].process for member in members]
    return all(process is not None and process.replica.applied.index == applied.index for process in processes)
