"""When a task is tried again (SWARM 4.5, steps 3 and 4)."""

from __future__ import annotations

import pytest

from raftswarm.manager.orchestrator.attempts import may_restart
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import RestartPolicy, TaskSpec
from raftswarm.objects.states import TaskState

SECOND = 1_000_000_000


def make_task(
    *,
    created: int = 0,
    failed: int = 0,
    version: int = 0,
    state: TaskState = TaskState.FAILED,
    policy: RestartPolicy | None = None,
) -> Task:
    return Task(
        id=f"t{created}",
        spec=TaskSpec(restart_policy=policy),
        spec_version=version,
        created_at=created * SECOND,
        status=TaskStatus(state=state, applied_at=failed * SECOND),
    )


@pytest.mark.parametrize(
    ("condition", "state", "restarts"),
    [
        ("none", TaskState.FAILED, False),
        ("none", TaskState.RUNNING, False),
        ("on-failure", TaskState.FAILED, True),
        ("on-failure", TaskState.REJECTED, True),
        ("on-failure", TaskState.COMPLETE, False),
        ("on-failure", TaskState.RUNNING, True),  # On a node that was lost: it did not end well.
        ("any", TaskState.COMPLETE, True),
        ("any", TaskState.FAILED, True),
    ],
)
def test_the_condition_decides_by_how_the_task_ended(condition: str, state: TaskState, restarts: bool) -> None:
    task = make_task(state=state, policy=RestartPolicy(condition=condition))

    assert may_restart(task, [task]) is restarts


def test_without_a_policy_tasks_restart() -> None:
    task = make_task(state=TaskState.COMPLETE)

    assert may_restart(task, [task])


def test_attempts_are_counted_in_the_slots_records() -> None:
    first, second, third = (make_task(created=created, policy=RestartPolicy(max_attempts=2)) for created in (1, 2, 3))

    assert may_restart(first, [first])
    assert may_restart(second, [first, second])
    assert not may_restart(third, [first, second, third])


def test_a_new_spec_begins_to_count_anew() -> None:
    once = RestartPolicy(max_attempts=1)
    slot = [make_task(created=1, policy=once), make_task(created=2, policy=once)]
    changed = make_task(created=3, version=5, policy=once)
    rolled_back = make_task(created=4, policy=once)

    assert not may_restart(slot[-1], slot)
    assert may_restart(changed, [*slot, changed])
    assert may_restart(rolled_back, [*slot, changed, rolled_back])


def test_within_a_window_old_restarts_are_forgotten() -> None:
    policy = RestartPolicy(max_attempts=2, window=10 * SECOND)
    slot = [make_task(created=created, failed=created + 1, policy=policy) for created in (1, 5, 9)]
    late = make_task(created=9, failed=16, policy=policy)

    assert not may_restart(slot[-1], slot)
    assert may_restart(late, [*slot[:2], late])
