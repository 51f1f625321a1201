"""The rules of a swarm's replicated tables, checked behind every command and once more at rest.

    rules = SwarmRules()
    rules.observe(node, index, changes, tables)  # after each command that changed anything, on whichever manager
    check_at_rest(tables, Facts(reachable=…))  # or `find_unrest`, which raises nothing

Nothing here knows of a world: a command is the changes that it made. Whoever watches several managers may tell of a
command as often as it is applied; the first time counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm_rules import placement, records, services_at_rest, slots, tasks, tasks_at_rest, updates
from raftswarm.lab.swarm_rules.at_rest import AtRest, Facts
from raftswarm.lab.swarm_rules.picture import Picture, Rule, Step
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
RULES_AT_REST: Final[tuple[Rule[AtRest], ...]] = tuple(
    sorted((*services_at_rest.RULES, *tasks_at_rest.RULES), key=lambda rule: rule.number)
)


class SwarmRules:
    """Follows one swarm from any moment on; raises `Violation` at the first thing that must not be."""

    def __init__(self) -> None:
        self._clocks_are_true = True
        self._picture: Picture | None = None

    def distrust_clocks(self) -> None:
        """A wall clock jumps: from now on no delay can be told from the times in records."""
        self._clocks_are_true = False
        if self._picture is not None:
            self._picture.clocks_are_true = False

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


def find_unrest(tables: Reader, facts: Facts | None = None, *, service_id: str = "") -> list[str]:
    """Say what must not be once the tables have come to rest: all of them, or what belongs to one service."""
    subject = AtRest(Picture.before(0, (), tables), facts or Facts(), service_id)
    return [f"{rule.number} ({rule.name}): {sentence}" for rule in RULES_AT_REST for sentence in rule.check(subject)]


def check_at_rest(tables: Reader, facts: Facts | None = None) -> None:
    """Check tables that have come to rest; one `Violation` tells everything that must not be."""
    if broken := find_unrest(tables, facts):
        raise Violation("at rest: " + "\n".join(broken))
