"""Leadership is a nursery: losing it cancels every loop and waits for its cleanup.

A loop that raises has a bug, or met the end of our leadership before we did. Neither is a reason to take the others
down: it is logged, counted and begun anew, and finds in the store where it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from raftswarm.errors import NotLeader, OutcomeUnknown

logger = logging.getLogger("raftswarm.manager")

ControlLoop = Callable[[], Awaitable[None]]

RESTART_SECONDS: Final = 1.0


class LeadershipWatch(Protocol):
    """Tells when this node leads and has applied all of its log (SWARM 12.5)."""

    async def wait_gained(self) -> None:
        """Return at once if leading."""
        ...

    async def wait_lost(self) -> None:
        """Return at once if not."""
        ...


async def run_while_leading(
    watch: LeadershipWatch, loops: Sequence[ControlLoop], crashes: Counter[str] | None = None
) -> None:
    """Run the loops in every term that this node leads; `crashes` counts by name those that had to begin anew."""
    crashes = crashes if crashes is not None else Counter()
    while True:
        await watch.wait_gained()
        async with trio.open_nursery() as leadership:
            for loop in loops:
                leadership.start_soon(_keep_running, loop, crashes)
            await watch.wait_lost()
            leadership.cancel_scope.cancel()


async def _keep_running(loop: ControlLoop, crashes: Counter[str]) -> None:
    name = getattr(loop, "__qualname__", repr(loop))
    while True:
        try:
            await loop()
        except Exception as error:  # A fault in one loop must not end the others.
            if _is_lost_leadership(error):
                logger.info("%s stopped: %s", name, error)
            else:
                crashes[name] += 1
                logger.exception("%s failed and begins anew", name)
            await trio.sleep(RESTART_SECONDS)
        else:
            return


def _is_lost_leadership(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(_is_lost_leadership(inner) for inner in error.exceptions)
    return isinstance(error, NotLeader | OutcomeUnknown)
