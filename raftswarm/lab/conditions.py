"""How links and disks are while nothing in particular befalls them."""

from __future__ import annotations

from random import Random

import attrs


@attrs.frozen(kw_only=True)
class NetworkConditions:
    """How a link is, apart from cuts and clogs."""

    delay_seconds: float = 0.0005
    """The least a message takes."""
    jitter_seconds: float = 0.0005
    """Mean of what comes on top, exponentially distributed."""
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """Share of messages that others may overtake …"""
    reordering_seconds: float = 0.2
    """… by up to this long."""
    damage: float = 0.0
    """Share of a snapshot's frames in which a bit arrives wrong."""
    breakage: float = 0.0
    """Share of messages that are damaged on the way: the receiver's end finds out, and the connection breaks."""
    capacity: int = 0
    """So many messages may be under way; more are lost, and the sender knows. 0 is no limit."""
    reading_seconds: float = 0.0
    """A slow receiver takes so long to read each message, while the next ones wait."""
    bytes_per_second: float = 100e6
    """For snapshots; what else is sent is small."""


@attrs.frozen(kw_only=True)
class DiskConditions:
    """How long a disk job takes."""

    latency_seconds: float = 0.0005
    jitter_seconds: float = 0.0002
    """Mean of what comes on top, exponentially distributed."""

    def draw_seconds(self, chance: Random) -> float:
        """Draw one job's time."""
        return self.latency_seconds + chance.expovariate(1.0) * self.jitter_seconds
