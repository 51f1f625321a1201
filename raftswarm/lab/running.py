"""Many random worlds: what is asked of each, what came of it as plain data, and what to tell of all of them together.

The one big idea: a row says all that the sum needs. So it makes no difference in which process a world was run, in
which order they ended, or whether a row was read from the file of a campaign that was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import process_time
from typing import Final

import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.recording import Recording, write_recording
from raftswarm.lab.replaying import describe_failure, run_recording
from raftswarm.lab.seeds import SeedOutcome, run_seed
from raftswarm.lab.trace import Trace

SECONDS_PER_HOUR: Final = 3600
SECONDS_PER_MINUTE: Final = 60


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One world to be run."""

    seed: int
    seconds: float
    """Simulated, until the faults end."""
    members: int | None = None
    """With which the cluster begins; None lets the seed draw that, too."""
    is_traced: bool = False
    """Digest all that happens, which takes time."""
    directory: str | None = None
    """Where to record a run that violates something; None for nowhere."""
    keeps_all: bool = False
    """Record runs that go well, too."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it."""

    seed: int
    members: int
    """In the end, all that there ever were."""
    at: float
    """Simulated seconds when it ended."""
    cpu_seconds: float
    events: int
    acknowledged: int
    """Calls of clients that succeeded."""
    committed: int
    """How far the log was."""
    faults: dict[str, int] = {}
    """How many of each kind struck."""
    strikes: dict[str, int] = {}
    """Of every kind of strike that the seed drew: how many made a difference."""
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    """What it reached of what is listed (`reachable`)."""
    digest: str = ""
    """Of the trace, if there was one."""
    violation: str = ""
    """What does not hold; empty when all went well."""
    recording: str = ""
    """The file that replays it, if one was written."""


def run_order(order: Order) -> Row:
    """Run a world; InvalidSpec if it cannot be recorded where it should be."""
    trace = Trace(enabled=True, keep_lines=False) if order.is_traced else None
    started = process_time()
    outcome = run_seed(order.seed, order.seconds, members=order.members, trace=trace)
    cpu_seconds = process_time() - started
    violation = "" if outcome.failure is None else describe_failure(outcome.failure)
    recording = ""
    if order.directory is not None and (violation or order.keeps_all):
        try:
            recording = _record(outcome, Path(order.directory))
        except AssertionError as difference:
            violation = describe_failure(difference)
    return Row(
        seed=outcome.seed,
        members=outcome.members,
        at=outcome.ended_at,
        cpu_seconds=cpu_seconds,
        events=outcome.events,
        acknowledged=outcome.acknowledged,
        committed=outcome.last_committed,
        faults=dict(sorted(outcome.struck_by_kind.items())),
        strikes=dict(sorted(outcome.strikes.items())),
        coverage=outcome.coverage.without_states(),
        digest=outcome.digest if order.is_traced else "",
        violation=violation,
        recording=recording,
    )


def _record(outcome: SeedOutcome, directory: Path) -> str:
    path = directory / f"seed-{outcome.seed}.recording"
    recording = finish_recording(outcome)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_recording(path, recording)
    except OSError as error:
        raise InvalidSpec(f"cannot write {path}: {error.strerror}; say with --keep where recordings may go") from None
    return str(path)


def finish_recording(outcome: SeedOutcome) -> Recording:
    """Let a seed's run happen again as a recording, and put down how it went; AssertionError if it went otherwise."""
    ending = run_recording(outcome.recording)
    failed = "" if outcome.failure is None else describe_failure(outcome.failure)
    same = (outcome.events, outcome.ended_at, failed)
    assert (ending.steps, ending.at, ending.violation) == same, (
        f"seed {outcome.seed} is not repeatable: {same}, {ending}"
    )
    return msgspec.structs.replace(outcome.recording, ending=ending)


class Failure(msgspec.Struct, frozen=True):
    """A seed whose world violated something."""

    seed: int
    at: float
    """Simulated seconds."""
    violation: str
    recording: str = ""
    """The file that replays it, if one was written."""


class Struck(msgspec.Struct):
    """One kind of strike over many seeds."""

    seeds: int = 0
    """That drew it."""
    strikes: int = 0

    @property
    def per_seed(self) -> float:
        """Of those."""
        return self.strikes / self.seeds if self.seeds else 0.0


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
    strikes: dict[str, Struck] = {}
    """By kind: which strikes were drawn, and how many made a difference."""
    commits: dict[int, int] = {}
    """By seed: how far the log was committed."""
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    """What all seeds together reached of what is listed."""
    failures: list[Failure] = []

    @property
    def cluster_hours(self) -> float:
        """Simulated, all seeds together."""
        return self.simulated_seconds / SECONDS_PER_HOUR

    @property
    def cluster_hours_per_cpu_minute(self) -> float:
        """How fast it went."""
        return self.cluster_hours / self.cpu_seconds * SECONDS_PER_MINUTE if self.cpu_seconds else 0.0

    @property
    def events_per_cpu_second(self) -> float:
        """How fast it went, in another measure."""
        return self.events / self.cpu_seconds if self.cpu_seconds else 0.0

    @property
    def commits_per_seed(self) -> float:
        """Entries, on average."""
        return sum(self.commits.values()) / self.seeds if self.seeds else 0.0


def add_up(rows: Iterable[Row]) -> Report:
    """Add up what came of many worlds, in the order of their seeds: sums of fractions depend on it."""
    faults: Counter[str] = Counter()
    report = Report()
    for row in sorted(rows, key=_seed):
        report.seeds += 1
        report.simulated_seconds += row.at
        report.cpu_seconds += row.cpu_seconds
        report.events += row.events
        report.acknowledged += row.acknowledged
        faults.update(row.faults)
        for kind, strikes in row.strikes.items():
            struck = report.strikes.setdefault(kind, Struck())
            struck.seeds += 1
            struck.strikes += strikes
        report.commits[row.seed] = row.committed
        report.coverage.add(row.coverage)
        if row.violation:
            report.failures.append(Failure(row.seed, row.at, row.violation, row.recording))
    report.faults = dict(sorted(faults.items()))
    report.strikes = dict(sorted(report.strikes.items()))
    return report


def _seed(row: Row) -> int:
    return row.seed


def histogram(values: list[int]) -> list[tuple[str, int]]:
    """Count values in classes that double from one to the next, as rows of range and count."""
    rows: Counter[int] = Counter(value.bit_length() for value in values)
    if not rows:
        return []
    return [
        (f"{2 ** (size - 1) if size else 0} to {2**size - 1}", rows[size]) for size in range(min(rows), max(rows) + 1)
    ]
