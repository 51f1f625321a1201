"""States of tasks and nodes. A task's state is a Lamport clock: it only grows; the larger is right (SWARM 2.1)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class TaskState(IntEnum):
    """How far a task has come; anything above RUNNING is the end of it."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    """Only ever desired."""
    ORPHANED = 832

    @property
    def is_terminal(self) -> bool:
        """Tell whether a task observed in this state will never run again."""
        return self > TaskState.RUNNING

    @property
    def docker_word(self) -> str:
        """The word in Docker's JSON."""
        return self.name.lower()


class NodeState(StrEnum):
    """What the dispatcher knows about a node."""

    UNKNOWN = "unknown"
    DOWN = "down"
    READY = "ready"
    DISCONNECTED = "disconnected"


class UpdateState(StrEnum):
    """How far an update has come; absent before the first."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"
