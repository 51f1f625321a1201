"""What the machines of a simulated swarm have in common, and what everything they apply is told to.

The replicated tables are watched from inside: every transaction is compared with what other managers, and earlier
lives, applied under the same number. The first time it is seen, the rules of the tables judge it, and observers hear of
it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Protocol

import attrs
import trio

from raftswarm.errors import LinkError, StorageError
from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm.agenda import LoopAgenda
from raftswarm.lab.swarm.fabric import Fabric
from raftswarm.lab.swarm.processes import PROGRAMS, Program
from raftswarm.lab.swarm.scheduling import Scheduler
from raftswarm.lab.swarm_rules import SwarmRules
from raftswarm.lab.trace import Trace
from raftswarm.raft.state_machine import Context
from raftswarm.store.store import Change, Reader, Store


class Observer(Protocol):
    """Hears of every transaction that changes the tables, once, from the first manager that applies it.

    `tables` are that manager's, changed already; they go on changing, so they are good for the call only. Whatever it
    raises ends the run.
    """

    def __call__(self, node: str, index: int, changes: Sequence[Change], tables: Reader, /) -> None:
        """Look at the changes of the command with that number."""
        ...


class SwarmWorld:
    """Time, chance, the network between machines, and who hears what happens."""

    def __init__(self, seed: int, scheduler: Scheduler, nursery: trio.Nursery, trace: Trace) -> None:
        self.seed = seed
        self.scheduler = scheduler
        self.nursery = nursery
        """Of everything that runs."""
        self.trace = trace
        self.agenda = LoopAgenda()
        self.fabric = Fabric(self.agenda, self.chance, self.note)
        self.programs: dict[str, Program] = dict(PROGRAMS)
        self.rules = SwarmRules()
        self.observers: list[Observer] = [self.rules.observe]
        self.failure: BaseException | None = None
        self.is_over = False
        """Nothing counts any more: what still runs is being cleared away."""
        self._stop = trio.CancelScope()
        self._commands: dict[int, bytes] = {}
        self._newest = 0

    def chance(self, name: str) -> Random:
        """A source of chance of its own for whoever has that name."""
        return Random(f"{self.seed} {name}")  # noqa: S311 - a simulation has to be repeatable

    def note(self, text: str) -> None:
        """Put down what happened."""
        if not self.is_over:
            self.trace.record(trio.current_time(), text)

    def fail(self, error: BaseException) -> None:
        """Something is wrong: the run ends here. The first one counts."""
        if self.failure is None and not self.is_over:
            self.failure = error
            self._stop.cancel()

    async def run_until_failure(self, main: Callable[[], Awaitable[object]]) -> None:
        """Do all of it, unless something fails before."""
        with self._stop:
            await main()

    def applied(self, node: str, tables: Store, context: Context, command: bytes, changes: Sequence[Change]) -> None:
        """Take in what a manager has applied."""
        if self.is_over:
            return
        number = context.command_number
        known = self._commands.setdefault(number, command)
        if known != command:
            self.fail(Violation(f"{node} applied another command as number {number} than somebody before it"))
        if number <= self._newest:
            return
        self._newest = number
        self.note(f"applied {number}: {' '.join(_describe(change) for change in changes)}")
        for observer in self.observers:
            try:
                observer(node, number, changes, tables)
            except Exception as error:  # noqa: BLE001 - the store is not to hear of it
                self.fail(error)


def _describe(change: Change) -> str:
    stored = change.object
    return f"{stored.kind} {stored.id}{' removed' if change.after is None else ''}"


@attrs.define(eq=False)
class BugCatcher(logging.Handler):
    """Takes what is logged with a traceback for a bug: nobody expected it, unlike a machine's own troubles."""

    _caught: Callable[[BaseException], None]

    def __attrs_pre_init__(self) -> None:
        """Be a handler."""
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a bug on."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, OSError | StorageError | LinkError):
            error.add_note(f"logged by {record.name}: {record.getMessage()}")
            self._caught(error)
