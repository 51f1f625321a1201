"""How packets get from one machine to another: in time, late, or not while the way is cut.

Nobody is told of a cut. What was sent stays with its sender's kernel, which sends it again: it arrives after all if the
way is mended in time, and the connection ends if it is not, as real links do (`transport.sockets`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import attrs

from raftswarm.lab.swarm.agenda import LoopAgenda

RETRANSMISSION_SECONDS: Final = 1.0
"""What was lost on a mended way is there within so long."""
DEAD_PEER_SECONDS: Final = (10.0, 15.0)
"""After so long without an acknowledgement a connection ends: the limit for bytes, and later that for probes."""
LOOPBACK_SECONDS: Final = 0.00005


@attrs.define(eq=False)
class Way:
    """One direction between two machines."""

    sender: str
    receiver: str
    _agenda: LoopAgenda
    _chance: Random
    _gave_up: Callable[[Way], None]
    """Hears that the way has been cut for so long that connections over it end."""
    delay_seconds: float = 0.0005
    jitter_seconds: float = 0.0003
    """Mean of what comes on top, exponentially distributed."""
    lag_seconds: float = 0.0
    """What is wrong with it."""
    is_cut: bool = False
    _cuts: int = 0
    _stuck: list[Callable[[], None]] = attrs.field(factory=list)

    def carry(self, arrive: Callable[[], None]) -> None:
        """Call `arrive` when what leaves now is there, however often it has to be sent."""
        if self.sender == self.receiver:
            self._agenda.after(LOOPBACK_SECONDS, arrive)
        else:
            delay = self.delay_seconds + self.lag_seconds + self._chance.expovariate(1.0) * self.jitter_seconds
            self._agenda.after(delay, self._arrive, arrive)

    def cut(self) -> None:
        """Let nothing through."""
        if not self.is_cut:
            self.is_cut = True
            self._cuts += 1
            self._agenda.after(self._chance.uniform(*DEAD_PEER_SECONDS), self._look_at_cut, self._cuts)

    def mend(self) -> None:
        """Let everything through again, also what could not pass meanwhile."""
        self.is_cut = False
        stuck, self._stuck = self._stuck, []
        for arrive in stuck:
            self._agenda.after(self._chance.random() * RETRANSMISSION_SECONDS, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self.is_cut:
            self._stuck.append(arrive)
        else:
            arrive()

    def _look_at_cut(self, number: int) -> None:
        if self.is_cut and self._cuts == number:
            self._gave_up(self)
