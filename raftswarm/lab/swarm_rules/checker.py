"""The rules of a swarm's replicated tables, checked behind every command and once more at rest.

    rules = SwarmRules()
    rules.observe(node, index, changes, tables)  # after each command that changed anything, on whichever manager
    check_at_rest(tables, Facts(reachable=…))

Nothing here knows of a world: a command is the changes that it made. Whoever watches several managers may tell of a
command as often as it is applied; the first time counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm_rules import placement, records, rest, slots, tasks, updates
from raftswarm.lab.swarm_rules.picture import Picture, Rule, Step
from raftswarm.lab.swarm_rules.rest import AtRest, Facts
from raftswarm.lab.swarm_rules.updates import follow_updates
from raftswarm.store.contracts import Change, Reader

RULES: Final[tuple[Rule[Step], ...]] = (
    *records.RULES,
    *tasks.RULES,
    *slots.RULES,
    *updates.RULES,
    *placement.RULES,
)
"""What must hold behind every command."""
RULES_AT_REST: Final[tuple[Rule[AtRest], ...]] = rest.RULES


class SwarmRules:
    """Follows one swarm from any moment on; raises `Violation` at the first thing that must not be."""

    def __init__(self, *, clocks_are_true: bool = True) -> None:
        """`clocks_are_true`: wall clocks do not jump, so that delays can be told from the times in records."""
        self._clocks_are_true = clocks_are_true
        self._picture: Picture | None = None

    def observe(self, node: str, index: int, changes: Sequence[Change], tables: Reader) -> None:
        """Check a command by what it changed; `tables` are those of the manager `node`, which has applied it.

        They are read only if the picture does not lead up to the command: at first, and behind a gap.
        """
        if not changes or (self._picture is not None and index <= self._picture.index):
            return
        if self._picture is None or not all(map(self._picture.knows, changes)):
            self._picture = Picture.before(index, changes, tables, clocks_are_true=self._clocks_are_true)
        step = self._picture.follow(index, changes)
        follow_updates(step)
        for rule in RULES:
            for sentence in rule.check(step):
                raise Violation(f"{rule.number} ({rule.name}): {sentence} (command {index}, on {node})")


def check_at_rest(tables: Reader, facts: Facts | None = None) -> None:
    """Check tables that have come to rest; one `Violation` tells everything that must not be."""
    subject = AtRest(Picture.before(0, (), tables), facts or Facts())
    broken = [f"{rule.number} ({rule.name}): {sentence}" for rule in RULES_AT_REST for sentence in rule.check(subject)]
    if broken:
        raise Violation("at rest: " + "\n".join(broken))
