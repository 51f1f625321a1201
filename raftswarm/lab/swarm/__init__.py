"""Whole swarms in virtual time: complete nodes, that run the shipped code, on machines and ways that fail.

`simulate` lets a scenario happen to a swarm. A run is a function of its seed and its scenario (docs/lab.md).
"""

from raftswarm.lab.swarm.lab import Lab, plain_service
from raftswarm.lab.swarm.nodes import LabNode
from raftswarm.lab.swarm.processes import Program, Run
from raftswarm.lab.swarm.running import Outcome, Scenario, simulate, try_scenario
from raftswarm.lab.swarm.world import Observer

__all__ = [
    "Lab",
    "LabNode",
    "Observer",
    "Outcome",
    "Program",
    "Run",
    "Scenario",
    "plain_service",
    "simulate",
    "try_scenario",
]
