"""What the protocol may be at when a fault strikes."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """A cluster may be in several at once, but for the first."""

    IDLE = "idle"
    ELECTION = "election"
    """Somebody campaigns, or nobody leads."""
    CATCHING_UP = "catching up"
    """A member that runs lacks much of what is committed, or it is not known what it has."""
    SNAPSHOT = "snapshot transfer"
    JOINT = "joint"
    TRANSFER = "transfer"
    """Of leadership."""
    RECOVERY = "recovery"
    """Somebody was started, and no majority has found its memory whole yet."""
