"""What the world does by itself, on trio's clock: frames arrive, disks are done, processes end.

The events of a heap, run by one task that belongs to no process: whatever is frozen or killed, the world goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeVarTuple

import trio

from raftswarm.lab.event_heap import EventHeap

Ts = TypeVarTuple("Ts")


class LoopAgenda(EventHeap):
    """An event heap whose time is trio's. `run` must be running."""

    def __init__(self) -> None:
        super().__init__()
        self._alarm = trio.CancelScope()
        self._alarm_at = inf

    def at(self, when: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` at that time, or now if that is over."""
        super().at(when, action, *args)
        if when < self._alarm_at:
            self._alarm.deadline = self._alarm_at = when

    def after(self, delay_seconds: float, action: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call `action` so much later."""
        self.at(trio.current_time() + delay_seconds, action, *args)

    async def run(self) -> None:
        """Let the events happen until cancelled."""
        while True:
            self._alarm_at = self.next_time()
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._alarm_at = -inf  # Events that run now are not to set an alarm that nobody sleeps by.
            self.run_until(trio.current_time())
