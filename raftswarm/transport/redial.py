"""Keeping a link open: at once when it breaks, then ever less often, and never in step with others."""

from __future__ import annotations

from random import Random
from typing import Final

import trio

FIRST_DELAY_SECONDS: Final = 0.002
"""A process that is being killed may still reset the first dial; the second finds its port closed."""
AFTER_REFUSAL_SECONDS: Final = 0.02
"""A closed port is an answer: whoever opens it again dials us, and until then others need the processor."""
LAST_DELAY_SECONDS: Final = 1.0
STABLE_SECONDS: Final = 1.0
"""A link that held this long is redialled at once; one that did not counts as another failure."""


class Backoff:
    """How long to wait before dialling again."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._delay_seconds = 0.0
        self._hurry = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        """Wait this time's delay; the next one is twice as long."""
        delay = self._delay_seconds
        self._delay_seconds = min(max(2 * delay, FIRST_DELAY_SECONDS), LAST_DELAY_SECONDS)
        if delay:
            with trio.move_on_after(delay * self._chance.uniform(0.5, 1.0)):
                await self._hurry.park()

    def refused(self) -> None:
        """Nobody listens: no need to look again at once."""
        self._delay_seconds = max(self._delay_seconds, AFTER_REFUSAL_SECONDS)

    def succeeded(self, open_seconds: float) -> None:
        """A link was open for this long."""
        if open_seconds >= STABLE_SECONDS:
            self._delay_seconds = 0.0

    def hurry(self) -> None:
        """Begin anew, ending the present wait: the other side has just been heard of."""
        self._delay_seconds = 0.0
        self._hurry.unpark_all()
