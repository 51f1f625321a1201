"""The restart supervisor: replaces tasks that ended or lost their node, and starts replacements in time (SWARM 4.5).

A replacement is wanted READY until its delay is over and the task before it has stopped; then RUNNING, or COMPLETE of
a job. All of it is read from the records, so a new leader continues where the old one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftswarm.manager.orchestrator.attempts import may_restart
from raftswarm.manager.orchestrator.draft import Draft, SlotKey
from raftswarm.objects import defaults
from raftswarm.objects.policies import restart_rule
from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import can_host, is_job_done, is_wanted
from raftswarm.world.slices import Slices

OLD_TASK_TIMEOUT: Final = round(defaults.OLD_TASK_TIMEOUT_SECONDS * defaults.SECOND)


def plan_restarts(draft: Draft, may_refill: Callable[[SlotKey], bool] = lambda _: True) -> Slices[None]:
    """Replace the tasks that cannot go on."""
    for key in list(draft.slots):
        yield
        for task in [task for task in draft.slots[key] if is_wanted(task) and _cannot_go_on(draft, task)]:
            delayed_until = _delayed_until(draft, key, task)
            if task.desired_state is TaskState.READY and draft.now < delayed_until:
                # It failed before it was even due: its own delay is served first, or a bad image would loop hotly.
                draft.wake(delayed_until)
                continue
            slot = draft.slots[key]
            replace = may_refill(key) and may_restart(task, slot) and not _has_stand_in(draft, key, task)
            draft.retire(key, [task])
            if replace:
                draft.add(key, TaskState.READY)


def plan_starts(draft: Draft) -> Slices[None]:
    """Start the replacements whose time has come."""
    for key in list(draft.slots):
        yield
        for task in [task for task in draft.slots[key] if _waits(task)]:
            start_at = _delayed_until(draft, key, task)
            if draft.now >= start_at and _predecessor_may_run(draft, key):
                start_at = draft.waiting_since(task) + OLD_TASK_TIMEOUT
            if draft.now >= start_at:
                draft.raise_desired(key, task, draft.goal)
            else:
                draft.wake(start_at)


def _cannot_go_on(draft: Draft, task: Task) -> bool:
    if is_job_done(task):
        return False
    return task.status.state.is_terminal or (bool(task.node_id) and not can_host(draft.node_of(task)))


def _waits(task: Task) -> bool:
    return task.desired_state is TaskState.READY and not task.status.state.is_terminal


def _has_stand_in(draft: Draft, key: SlotKey, failed: Task) -> bool:
    """Tell whether another task of the current spec fills the slot: two may share it during an update."""
    return any(
        is_wanted(task) and not draft.is_dirty(task) and not _cannot_go_on(draft, task)
        for task in draft.slots[key]
        if task.id != failed.id
    )


def _delayed_until(draft: Draft, key: SlotKey, task: Task) -> int:
    """When the restart delay of a replacement ends; updates, and moves away from a drained node, have none."""
    slot = draft.slots[key]
    earlier = slot[: slot.index(task)]
    alike = [before for before in earlier if _have_one_template(before, task)]
    if earlier and not (alike and _ended_unasked(draft, alike[-1])):
        return draft.now
    return draft.waiting_since(task) + restart_rule(task.spec).delay


def _have_one_template(before: Task, task: Task) -> bool:
    return before.spec == task.spec and (before.endpoint and before.endpoint.spec) == (
        task.endpoint and task.endpoint.spec
    )


def _ended_unasked(draft: Draft, task: Task) -> bool:
    node = draft.node_of(task)
    is_drained = node is not None and node.spec.availability == "drain"
    return task.status.state is not TaskState.SHUTDOWN and not is_drained


def _predecessor_may_run(draft: Draft, key: SlotKey) -> bool:
    """Tell whether a task of this slot that was told to stop may not have done so yet."""
    return any(not is_wanted(task) and draft.may_run(task) for task in draft.slots[key])
