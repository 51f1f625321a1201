"""What has to find a planted bug, by its area: a table, in which what is simulated comes first."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal, Protocol
from xml.etree import ElementTree as ET

import attrs

from benchmarks.planting.patches import Area

Kind = Literal["worlds", "properties", "tests"]
"""Random worlds; property tests and simulated scenarios; tests of the parts, which are no part of the gate."""
CPU_SECONDS_PER_SEED: Final = 60.0
"""A usual one takes less than two."""
_WORLDS: Final = Path(__file__).with_name("worlds.py")


@attrs.frozen(kw_only=True)
class Budget:
    """How long to look for one bug."""

    seeds: int
    seconds: float
    """Simulated, of the phase with faults of each."""
    first_seed: int = 1
    gate_only: bool = False
    """Leave out the tests of the parts."""
    timeout_seconds: float = 1800.0
    """For one check. It is no verdict on the bug where worlds are run: the machine may be busy."""


@attrs.frozen(kw_only=True)
class Finding:
    """What came of one check."""

    caught_by: str = ""
    """An invariant, an exception or a test; empty when nothing was noticed."""
    seeds: int = 0
    """How many were run, the last of which failed if the bug was caught."""
    cpu_seconds: float = 0.0
    error: str = ""
    """Why there is no verdict."""


class Check(Protocol):
    """Looks for a bug in a copy of the tree."""

    @property
    def kind(self) -> Kind:
        """What it is counted as."""
        ...

    def run(self, copy: Path, budget: Budget) -> Finding:
        """Run processes in that directory, one at a time, and say what they noticed."""
        ...


@attrs.frozen
class RandomWorlds:
    """Seeds in order, until one violates something: what `raftswarm lab run --random` runs."""

    kind: Kind = "worlds"

    def run(self, copy: Path, budget: Budget) -> Finding:
        """Stop at the first failure, or when the seeds are used up."""
        figures = (budget.first_seed, budget.seeds, budget.seconds, CPU_SECONDS_PER_SEED)
        done = _run(copy, [str(_WORLDS), *map(str, figures)], budget)
        told = [json.loads(line) for line in done.output.splitlines()]
        found = told[-1]["found"] if told else ""
        error = "" if found or len(told) == budget.seeds else done.error or "it ended early"
        return Finding(caught_by=found, seeds=len(told), cpu_seconds=done.cpu_seconds, error=error)


@attrs.frozen
class Suite:
    """Test files, in a fixed order and with fixed chance, until one test fails."""

    kind: Kind
    paths: tuple[str, ...]

    def run(self, copy: Path, budget: Budget) -> Finding:
        """Stop at the first failure."""
        report = copy / "report.xml"
        chance = ("-p", "no:randomly", "--hypothesis-seed=0", "-p", "no:cacheprovider")
        options = ("-m", "pytest", "-q", "-x", "-n", "0", *chance, f"--junitxml={report}", *self.paths)
        done = _run(copy, options, budget)
        caught = _first_failure(report) if done.code == 1 else ""
        if done.timed_out:
            caught = f"no end within {budget.timeout_seconds:g} s"
        elif done.code == 2 and report.exists():
            caught = _first_failure(report) or "the tests cannot be imported"
        error = "" if caught or done.code == 0 else done.error or f"pytest ended with {done.code}"
        return Finding(caught_by=caught, cpu_seconds=done.cpu_seconds, error=error)


CHECKS: Final[Mapping[Area, Sequence[Check]]] = {
    "consensus": (
        RandomWorlds(),
        Suite(
            "properties",
            (
                "property_tests/test_raft_log.py",
                "property_tests/test_raft_elections.py",
                "property_tests/test_raft_machine.py",
            ),
        ),
        Suite("tests", ("tests/raft", "tests/lab")),
    ),
    "membership": (
        RandomWorlds(),
        Suite("properties", ("property_tests/test_raft_machine.py",)),
        Suite("tests", ("tests/raft", "tests/lab")),
    ),
    "storage": (
        RandomWorlds(),
        Suite("properties", ("property_tests/test_storage_recovery.py",)),
        Suite("tests", ("tests/storage", "tests/lab")),
    ),
    "driver": (
        RandomWorlds(),
        Suite("properties", ("property_tests/test_replica.py",)),
        Suite("tests", ("tests/consensus", "tests/lab")),
    ),
    "sessions": (
        RandomWorlds(),
        Suite(
            "properties",
            (
                "property_tests/test_sessions.py",
                "property_tests/test_client_queue.py",
                "property_tests/test_client_exactly_once.py",
            ),
        ),
        Suite("tests", ("tests/consensus",)),
    ),
    "swarm": (
        Suite(
            "properties",
            (
                "property_tests/test_planning_ports.py",
                "property_tests/test_dispatching.py",
                "property_tests/test_planning_placement.py",
                "property_tests/test_agents.py",
                "property_tests/test_planning_services.py",
            ),
        ),
        Suite("tests", ("tests/manager", "tests/agent")),
    ),
}


def checks_of(area: Area | None, *, gate_only: bool = False) -> list[Check]:
    """Return an area's row of the table, or every check of it once: what an unmutated copy has to pass."""
    rows = CHECKS.values() if area is None else [CHECKS[area]]
    return [check for check in dict.fromkeys(chain(*rows)) if not gate_only or check.kind != "tests"]


@attrs.frozen(kw_only=True)
class _Done:
    code: int
    output: str
    error: str
    cpu_seconds: float
    timed_out: bool


def _run(copy: Path, arguments: Sequence[str], budget: Budget) -> _Done:
    """Run Python in the copy, so that it imports the copy's code and no other."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    before = _children_cpu_seconds()
    output, complaints = copy / "output", copy / "complaints"
    with output.open("wb") as out, complaints.open("wb") as err:
        try:
            code = subprocess.run(
                [sys.executable, *arguments],
                cwd=copy,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=budget.timeout_seconds,
                check=False,
            ).returncode
            timed_out = False
        except subprocess.TimeoutExpired:
            code, timed_out = -1, True
    said = complaints.read_text(errors="replace").strip() or output.read_text(errors="replace").strip()
    error = f"no end within {budget.timeout_seconds:g} s" if timed_out else (said.splitlines() or [""])[-1]
    return _Done(
        code=code,
        output=output.read_text(errors="replace"),
        error=error,
        cpu_seconds=_children_cpu_seconds() - before,
        timed_out=timed_out,
    )


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _first_failure(report: Path) -> str:
    """Name the test that failed, and how."""
    for case in ET.parse(report).iter("testcase"):
        for outcome in (*case.findall("failure"), *case.findall("error")):
            how = (outcome.get("message") or "").strip().splitlines() or [""]
            return f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}: {how[0]}"
    return ""
