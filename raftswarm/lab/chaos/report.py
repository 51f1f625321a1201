"""What came of a run: plain data, for a table, a page and programs (docs/chaos.md says what each figure means)."""

from __future__ import annotations

import statistics

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has to hold."""

    name: str
    held: bool
    seen: str


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that struck. Times are seconds since the run began."""

    kind: str
    text: str
    nodes: list[str]
    """Whom it struck: the target first, then who was cut off with it."""
    took_leader: bool
    """Whether the swarm needed another leader for it."""
    began: float
    ended: float
    failover_seconds: float | None = None
    """If the leader was struck: until the end of the first write that began later and was acknowledged."""
    convergence_seconds: float | None = None
    """From its end until nothing was amiss; None if the next fault came first."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Half a second of calls, by when they ended."""

    at: float
    reads: int = 0
    writes: int = 0
    failures: int = 0
    """Refused, or of unknown outcome."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the swarm showed."""

    at: float
    running: int
    ready: int
    reachable: int
    leader: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    seed: int
    seconds: float
    kinds: list[str]
    nodes: int
    managers: int
    replicas: int
    checks: list[Check]
    strikes: list[Strike]
    reads: int
    committed: int
    """Writes that were acknowledged."""
    refused: int
    """Calls that were refused, with a promise that nothing happened."""
    unknown: int
    """Calls without an answer."""
    lost: int
    """Acknowledged writes that are gone."""
    doubled: int
    """Tasks that were started more than once."""
    availability: float
    """Share of the time outside of outages."""
    outages: list[tuple[float, float]]
    """When no write was acknowledged by any manager for half a second or more."""
    convergence_seconds: float | None
    """After the last fault, until nothing was amiss; None if that never came."""
    slices: list[Slice]
    sights: list[Sight]
    kept: str = ""
    """Where history and logs are, if something did not hold."""

    @property
    def held(self) -> bool:
        """Tell whether everything did."""
        return all(check.held for check in self.checks)

    @property
    def longest_outage(self) -> float:
        """In seconds."""
        return max((ended - began for began, ended in self.outages), default=0.0)

    @property
    def failovers(self) -> list[float]:
        """How long each of them took, in seconds, the shortest first."""
        return sorted(strike.failover_seconds for strike in self.strikes if strike.failover_seconds is not None)

    @property
    def median_failover(self) -> float | None:
        """In seconds; None without failovers."""
        return statistics.median(self.failovers) if self.failovers else None

    @property
    def convergences(self) -> list[float]:
        """How long each took that came before the next fault, in seconds, the shortest first."""
        times = (strike.convergence_seconds for strike in self.strikes)
        return sorted(seconds for seconds in times if seconds is not None)


def encode_report(report: Report) -> bytes:
    """Write it as JSON, with what follows from the rest: whether all held, and the figures of the table."""
    figures = {
        "held": report.held,
        "longest_outage": report.longest_outage,
        "median_failover": report.median_failover,
        "worst_failover": max(report.failovers, default=None),
    }
    return msgspec.json.format(msgspec.json.encode({**figures, **msgspec.to_builtins(report)}), indent=2) + b"\n"
