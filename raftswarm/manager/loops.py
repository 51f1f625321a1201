"""What the control loops share: watch, plan with a pure function, write.

A plan is a list of actions. Each is atomic, looks again when it is written, and does nothing where the world has moved
on since the plan: then a change is on its way that leads to a new plan. So a loop needs no locks, survives any crash
between two actions, and writes only the fields it owns.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import attrs
import trio

from raftswarm.errors import Conflict, NotLeader, OutcomeUnknown, Overloaded
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id
from raftswarm.objects.records import Object
from raftswarm.store.contracts import Reader, Transaction, Watch, WatchOverflow, Writes
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock

RETRY_SECONDS: Final = 0.25

logger = logging.getLogger(__name__)


class Tables(Reader, Protocol):
    """The store, as loops see it."""

    def watch(self, *tables: type[Object]) -> AbstractContextManager[Watch]:
        """Changes of these tables from now on."""
        ...


class Action(Protocol):
    """One atomic step of a plan."""

    def write(self, transaction: Transaction) -> None:
        """Do it, as far as it still applies."""
        ...


async def write_actions(writes: Writes, actions: Sequence[Action]) -> None:
    """Write a plan in as few transactions as its size allows."""
    if actions:
        await writes.write_each(actions, lambda transaction, action: action.write(transaction))


async def keep_serving(serve: Callable[[], Awaitable[None]]) -> None:
    """Start over from the tables whenever a write or a change got lost; leadership ends the loop from outside."""
    while True:
        try:
            await serve()
        except (Conflict, NotLeader, OutcomeUnknown, Overloaded, WatchOverflow) as lost:
            logger.info("starting over: %s", lost)
            await trio.sleep(RETRY_SECONDS)


@attrs.frozen
class SteadyClock:
    """Nanoseconds since the epoch as of its start, advanced by trio's clock: it never jumps under a running loop."""

    _started_ns: int
    _started: float = attrs.field(factory=trio.current_time)

    @classmethod
    def start(cls, wall: WallClock) -> SteadyClock:
        """Set it by the wall clock."""
        return cls(wall.now_ns())

    def now_ns(self) -> int:
        """The time."""
        return self._started_ns + round((trio.current_time() - self._started) * 1_000_000_000)

    def seconds_until(self, moment_ns: int) -> float:
        """How long until then; 0 if it has passed."""
        return max(0.0, (moment_ns - self.now_ns()) / 1_000_000_000)


def id_source(entropy: Entropy) -> Callable[[], str]:
    """A source of fresh object ids."""
    return lambda: make_id(entropy.token_bytes(ID_RANDOM_BYTES))
