"""What must hold of a swarm's replicated tables: behind every command, and at rest."""

from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm_rules.at_rest import Facts
from raftswarm.lab.swarm_rules.checker import RULES, RULES_AT_REST, SwarmRules, check_at_rest, find_unrest

__all__ = ["RULES", "RULES_AT_REST", "Facts", "SwarmRules", "Violation", "check_at_rest", "find_unrest"]
