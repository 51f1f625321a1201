"""What a spec means where it is silent (SWARM 17). One place, for planners, agents and `insertDefaults`."""

from __future__ import annotations

from typing import Final

SECOND: Final = 1_000_000_000

RESTART_CONDITION: Final = "any"
RESTART_DELAY: Final = 5 * SECOND
STOP_GRACE_PERIOD: Final = 10 * SECOND
STOP_SIGNAL: Final = "SIGTERM"
UPDATE_PARALLELISM: Final = 1
UPDATE_MONITOR: Final = 5 * SECOND
UPDATE_FAILURE_ACTION: Final = "pause"
UPDATE_ORDER: Final = "stop-first"
OLD_TASK_TIMEOUT_SECONDS: Final = 60.0
"""How long a replacement waits for the task before it to stop."""
