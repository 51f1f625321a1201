"""What the restart and update sections of a spec say, with the defaults where they are silent (SWARM 17)."""

from __future__ import annotations

from typing import Final

import attrs

from raftswarm.objects import defaults
from raftswarm.objects.records import Service
from raftswarm.objects.specs import TaskSpec, UpdateConfig
from raftswarm.objects.states import UpdateState

ALL_AT_ONCE: Final = 2**63
"""A parallelism above any number of slots."""


@attrs.frozen
class RestartRule:
    """When, how often and after how long a task that ended is replaced."""

    condition: str
    delay: int
    max_attempts: int
    """0: no limit."""
    window: int
    """0: attempts are never forgotten."""


def restart_rule(spec: TaskSpec) -> RestartRule:
    """The rule of a task."""
    policy = spec.restart_policy
    if policy is None:
        return RestartRule(defaults.RESTART_CONDITION, defaults.RESTART_DELAY, 0, 0)
    return RestartRule(
        condition=policy.condition or defaults.RESTART_CONDITION,
        delay=defaults.RESTART_DELAY if policy.delay is None else policy.delay,
        max_attempts=policy.max_attempts or 0,
        window=policy.window or 0,
    )


@attrs.frozen
class UpdateRule:
    """How slots move to a new spec."""

    parallelism: int
    delay: int
    monitor: int
    failure_action: str
    max_failure_ratio: float
    order: str

    @property
    def settling(self) -> int:
        """How long the last slot is watched before the update counts as completed."""
        return self.delay + defaults.SECOND if self.delay >= self.monitor else self.monitor


def update_rule(service: Service) -> UpdateRule:
    """The rule in force: the rollback section's while the service rolls back."""
    status = service.update_status
    rolling_back = status is not None and status.state is UpdateState.ROLLBACK_STARTED
    config = service.spec.rollback_config if rolling_back else service.spec.update_config
    if config is None:
        config = UpdateConfig(parallelism=defaults.UPDATE_PARALLELISM)
    return UpdateRule(
        parallelism=config.parallelism or ALL_AT_ONCE,
        delay=config.delay,
        monitor=config.monitor or defaults.UPDATE_MONITOR,
        failure_action=config.failure_action or defaults.UPDATE_FAILURE_ACTION,
        max_failure_ratio=config.max_failure_ratio,
        order=config.order or defaults.UPDATE_ORDER,
    )
