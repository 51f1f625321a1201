"""Real daemons under faults: a schedule drawn from a seed, clients whose histories are judged, a report.

`plan_faults` says what will happen, `run_chaos` makes it happen, a `Report` says what came of it (docs/chaos.md).
"""

from raftswarm.lab.chaos.page import render_page
from raftswarm.lab.chaos.report import Check, Report, Strike
from raftswarm.lab.chaos.running import ChaosOptions, run_chaos
from raftswarm.lab.chaos.schedule import KINDS, TARGETS, PlannedFault, plan_faults

__all__ = [
    "KINDS",
    "TARGETS",
    "ChaosOptions",
    "Check",
    "PlannedFault",
    "Report",
    "Strike",
    "plan_faults",
    "render_page",
    "run_chaos",
]
