"""Many random worlds, one after another, and what to tell of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import process_time
from typing import Final

import attrs
import msgspec

from raftswarm.lab.recording import Recording
from raftswarm.lab.replaying import describe_failure, run_recording
from raftswarm.lab.seeds import SeedOutcome, run_seed

SECONDS_PER_HOUR: Final = 3600


class Failure(msgspec.Struct, frozen=True):
    """A seed whose world violated something."""

    seed: int
    at: float
    """Simulated seconds."""
    violation: str
    recording: str = ""
    """The file that replays it, if one was written."""


class Report(msgspec.Struct, kw_only=True):
    """What came of so many seeds."""

    seeds: int = 0
    simulated_seconds: float = 0.0
    """Of whole clusters."""
    cpu_seconds: float = 0.0
    events: int = 0
    acknowledged: int = 0
    """Calls of clients that succeeded."""
    faults: dict[str, int] = {}
    """How many of each kind struck."""
    commits: dict[int, int] = {}
    """By seed: how far the log was committed."""
    failures: list[Failure] = []

    @property
    def cluster_hours(self) -> float:
        """Simulated, all seeds together."""
        return self.simulated_seconds / SECONDS_PER_HOUR

    @property
    def events_per_cpu_second(self) -> float:
        """How fast it went."""
        return self.events / self.cpu_seconds if self.cpu_seconds else 0.0


@attrs.define(eq=False)
class Campaign:
    """Runs seeds and adds up their outcomes."""

    seconds: float
    failed: Callable[[SeedOutcome], str] = lambda _: ""
    """Hears of a failure; returns the file that it was recorded to."""
    report: Report = attrs.field(factory=lambda: Report(faults={}, commits={}, failures=[]))

    def run(self, seed: int) -> SeedOutcome:
        """Run one seed."""
        started = process_time()
        outcome = run_seed(seed, self.seconds)
        self._add(outcome, process_time() - started)
        return outcome

    def _add(self, outcome: SeedOutcome, cpu_seconds: float) -> None:
        report = self.report
        report.seeds += 1
        report.simulated_seconds += outcome.ended_at
        report.cpu_seconds += cpu_seconds
        report.events += outcome.events
        report.acknowledged += outcome.acknowledged
        report.faults = dict(sorted((Counter(report.faults) + Counter(outcome.struck_by_kind)).items()))
        report.commits[outcome.seed] = outcome.last_committed
        if outcome.failure is not None:
            violation = describe_failure(outcome.failure)
            report.failures.append(Failure(outcome.seed, outcome.ended_at, violation, self.failed(outcome)))


def finish_recording(outcome: SeedOutcome) -> Recording:
    """Let a seed's run happen again as a recording, and put down how it went; AssertionError if it went otherwise."""
    ending = run_recording(outcome.recording)
    failed = "" if outcome.failure is None else describe_failure(outcome.failure)
    same = (outcome.events, outcome.ended_at, failed)
    assert (ending.steps, ending.at, ending.violation) == same, (
        f"seed {outcome.seed} is not repeatable: {same}, {ending}"
    )
    return msgspec.structs.replace(outcome.recording, ending=ending)


def histogram(values: list[int]) -> list[tuple[str, int]]:
    """Count values in classes that double from one to the next, as rows of range and count."""
    rows: Counter[int] = Counter(value.bit_length() for value in values)
    if not rows:
        return []
    return [
        (f"{2 ** (size - 1) if size else 0} to {2**size - 1}", rows[size]) for size in range(min(rows), max(rows) + 1)
    ]
