"""Jobs: tasks that run to their end, so many of them or one on every node (SWARM 4.3, 4.4).

Every update of a job begins a new run, and only tasks of the current run count. What failed is tried again by its
restart policy; a slot that may not be tried again stays as it is, and the job never completes.
"""

from __future__ import annotations

from itertools import count, islice

from raftswarm.manager.orchestrator.attempts import may_restart
from raftswarm.manager.orchestrator.draft import Draft, SlotKey
from raftswarm.manager.orchestrator.global_ import may_fill
from raftswarm.manager.orchestrator.restart import plan_restarts
from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import belongs_to_run, is_job_done, is_wanted
from raftswarm.world.slices import Slices


def plan_replicated_job(draft: Draft) -> Slices[None]:
    """Begin as many tasks as may run at once, and as are missing from the completions that are asked for."""
    job = draft.service.spec.mode.replicated_job
    assert job is not None, "asked of replicated jobs only"
    yield from _retire_earlier_runs(draft)
    yield from plan_restarts(draft)
    taken: set[SlotKey] = set()
    running = 0
    for key in draft.slots:
        yield
        tasks = _of_this_run(draft, key)
        if tasks:
            taken.add(key)
            running += any(is_wanted(task) and not is_job_done(task) for task in tasks)
    missing = (job.total_completions or 0) - len(taken)
    room = (job.max_concurrent or 0) - running
    free = (number for number in count(1) if number not in taken)
    for number in islice(free, max(0, min(missing, room))):
        yield
        draft.fill(number)


def plan_global_job(draft: Draft) -> Slices[None]:
    """Begin a task on every fitting node that has none of this run; clear nodes that no longer fit."""
    yield from _retire_earlier_runs(draft)
    yield from plan_restarts(draft, may_refill=lambda node_id: may_fill(draft, draft.nodes.get(str(node_id))))
    for node_id, slot in draft.slots.items():
        yield
        node = draft.nodes.get(str(node_id))
        if not may_fill(draft, node):
            unfinished = [task for task in slot if not task.status.state.is_terminal]
            draft.retire(node_id, unfinished, TaskState.REMOVE if node is None else TaskState.SHUTDOWN)
    for node_id in sorted(draft.nodes):
        yield
        if may_fill(draft, draft.nodes[node_id]) and not _of_this_run(draft, node_id):
            draft.fill(node_id)


def _retire_earlier_runs(draft: Draft) -> Slices[None]:
    """Let go of what an earlier run has not finished; what failed in it is not tried again."""
    for key, slot in draft.slots.items():
        yield
        old = [task for task in slot if not belongs_to_run(task, draft.service) and not is_job_done(task)]
        draft.retire(key, [task for task in old if task.status.state.is_terminal])
        draft.retire(key, [task for task in old if not task.status.state.is_terminal], TaskState.REMOVE)


def _of_this_run(draft: Draft, key: SlotKey) -> list[Task]:
    """The tasks that fill a slot in this run: being tried, done, or given up after the last attempt allowed."""
    slot = draft.slots.get(key, [])
    tried = [task for task in slot if belongs_to_run(task, draft.service)]
    filling = [task for task in tried if is_wanted(task) or is_job_done(task)]
    if filling or not tried:
        return filling
    newest = tried[-1]
    given_up = newest.desired_state < TaskState.REMOVE and not may_restart(newest, slot)
    return [newest] if given_up else []
