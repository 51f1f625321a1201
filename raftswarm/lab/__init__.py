"""Simulated worlds: the shipped code under virtual time, with faults.

Scenarios, also for a state machine of your own: `CoreWorld(seed, make_machine=...)`. Random worlds: `run_seeds`.
Runs as files: `read_recording`, `run_recording` (docs/lab.md).
"""

from raftswarm.lab.callers import Caller
from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import DiskConditions, FaultMix, draw_fault_mix
from raftswarm.lab.history import Call, History
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.journal import Journal
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.phases import check_liveness
from raftswarm.lab.recording import Recording, read_recording, write_recording
from raftswarm.lab.replaying import run_recording
from raftswarm.lab.seeds import SeedOutcome, run_seed, run_seeds
from raftswarm.lab.swarm import Lab, simulate
from raftswarm.lab.trace import Trace

__all__ = [
    "Call",
    "Caller",
    "CoreWorld",
    "DiskConditions",
    "FaultMix",
    "History",
    "Invariants",
    "Journal",
    "Lab",
    "Nemesis",
    "NetworkConditions",
    "Recording",
    "SeedOutcome",
    "Trace",
    "Violation",
    "check_liveness",
    "draw_fault_mix",
    "read_recording",
    "run_recording",
    "run_seed",
    "run_seeds",
    "simulate",
    "write_recording",
]
