"""Builders for what a run sees."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from raftswarm.lab.chaos.report import Check, Report, Sight, Slice, Strike
from raftswarm.lab.linearizability import Operation

REGISTER = "chaos-register-1"


class Writing:
    """A history of one register, an operation after another."""

    def __init__(self) -> None:
        self._moments = count(1)
        self.operations: list[Operation] = []
        self._take("setup", "write", "first", None)

    def swap(self, old: str, new: str, *, known: bool = True) -> None:
        self._take("c1", "cas", (old, new), True, known=known)

    def read(self, value: str) -> None:
        self._take("c2", "read", None, value)

    def _take(self, who: str, kind: str, argument: object, result: object, *, known: bool = True) -> None:
        invoked = next(self._moments)
        self.operations.append(
            Operation(
                client=who,
                kind=kind,
                argument=argument,
                result=result if known else None,
                key=REGISTER,
                invoked=invoked,
                returned=next(self._moments) if known else None,
            )
        )


@pytest.fixture
def writing() -> Writing:
    return Writing()


@pytest.fixture
def make_report() -> Callable[..., Report]:
    def make(**fields: object) -> Report:
        strikes = [
            Strike(
                kind="kill",
                text="kill the leader",
                nodes=["docker1"],
                took_leader=True,
                began=3.0,
                ended=6.5,
                failover_seconds=0.081,
                convergence_seconds=1.4,
            ),
            Strike(
                kind="clock",
                text="set a worker's date 2 h back",
                nodes=["docker4"],
                took_leader=False,
                began=10.0,
                ended=14.0,
            ),
        ]
        slices = [Slice(at=number / 2, reads=10, writes=8, failures=number % 2) for number in range(40)]
        sights = [
            Sight(at=number / 2, running=6, ready=5, reachable=3, leader="docker1" if number < 7 else "docker2")
            for number in range(40)
        ]
        usual: dict[str, object] = {
            "seed": 7,
            "seconds": 20.0,
            "kinds": ["kill", "clock"],
            "nodes": 5,
            "managers": 3,
            "replicas": 6,
            "checks": [Check(name="nothing acknowledged is lost", held=True, seen="320 writes, none lost")],
            "strikes": strikes,
            "reads": 400,
            "committed": 320,
            "refused": 12,
            "unknown": 1,
            "lost": 0,
            "doubled": 0,
            "availability": 0.97,
            "outages": [(3.0, 3.6)],
            "convergence_seconds": 0.3,
            "slices": slices,
            "sights": sights,
        }
        return Report(**(usual | fields))  # type: ignore[arg-type]

    return make
