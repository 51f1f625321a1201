"""Leader priority: which voters the operator would rather see lead, as the configuration says.

The one big idea: a priority only moves timers and breaks ties. It never decides what a vote decides, so safety does not
depend on it, and neither does availability: whoever is there leads, however low.
"""

from __future__ import annotations

from raftswarm.raft.log_entry import Configuration


def priority_of(configuration: Configuration, member: int) -> int:
    """Return a member's priority; higher is preferred."""
    info = configuration.member(member)
    return info.priority if info is not None else 0


def timer_slice(configuration: Configuration, member: int) -> tuple[float, float]:
    """Return which part of [T, 2T) a member draws its election timeouts from: its start and width, in T.

    Every priority among the voters has a part, the highest the first: its members campaign before others begin to.
    """
    levels = sorted({info.priority for info in configuration.voters}, reverse=True)
    own = priority_of(configuration, member)
    rank = sum(level > own for level in levels)
    parts = max(len(levels), rank + 1)
    return rank / parts, 1 / parts
