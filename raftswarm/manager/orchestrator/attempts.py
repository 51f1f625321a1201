"""Whether a task that ended is tried again: condition, attempts, window (SWARM 4.5, steps 3 and 4).

Nothing is remembered: the records of a slot are its history, and the reaper keeps as many as the policy asks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState


def may_restart(task: Task, slot: Sequence[Task]) -> bool:
    """Tell whether the policy allows another task after this one; `slot` is ordered from the oldest to the newest."""
    rule = restart_rule(task.spec)
    if rule.condition == "none":
        return False
    ends_well = rule.condition == "on-failure" or task.job_iteration is not None
    if ends_well and task.status.state is TaskState.COMPLETE:
        return False
    if not rule.max_attempts:
        return True
    restarts = _restarts_up_to(task, slot)
    if rule.window:
        ended = task.status.applied_at or task.status.timestamp
        restarts = [restart for restart in restarts if ended - rule.window < restart.created_at < ended]
    return len(restarts) < rule.max_attempts


def _restarts_up_to(task: Task, slot: Sequence[Task]) -> Sequence[Task]:
    """The tasks made to replace one of the same spec and run, of which the first is no restart; others begin anew."""
    backwards = reversed(slot[: slot.index(task) + 1])
    return list(takewhile(lambda earlier: _is_alike(earlier, task), backwards))[:-1]


def _is_alike(one: Task, other: Task) -> bool:
    """Tell whether two tasks are of one spec and run: rolled back twice, a job has an earlier spec in a later run."""
    return (one.spec_version, one.job_iteration) == (other.spec_version, other.job_iteration)
