"""One plan for one service: restarts, then scale, then the update, then the starts that have become due.

The order matters: each step sees the slots as the one before leaves them. Planning again on what a plan has written
gives an empty plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from raftswarm.manager.orchestrator.actions import AnyAction, RemoveTask
from raftswarm.manager.orchestrator.draft import Draft, SlotKey
from raftswarm.manager.orchestrator.global_ import may_fill, plan_coverage
from raftswarm.manager.orchestrator.jobs import plan_global_job, plan_replicated_job
from raftswarm.manager.orchestrator.replicated import plan_scaling
from raftswarm.manager.orchestrator.restart import plan_restarts, plan_starts
from raftswarm.manager.orchestrator.updater import Progress, plan_update
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.world.slices import Slices


@attrs.frozen
class Memory:
    """What a leader has seen of a service and the records do not say; made anew by the next leader."""

    waiting_since: Mapping[str, int] = attrs.field(factory=dict)
    """When tasks that wait for their start were first seen: a clock that jumps, or differs, moves no delay."""
    progress: Progress | None = None


@attrs.frozen
class Plan:
    """What to write now, and when to plan again if nothing changes before."""

    actions: tuple[AnyAction, ...]
    wake_at: int | None
    memory: Memory


def plan_service(
    service: Service,
    tasks: Iterable[Task],
    nodes: Mapping[str, Node],
    *,
    now: int,
    memory: Memory | None,
    new_id: Callable[[], str],
) -> Slices[Plan]:
    """Plan what brings the service's tasks closer to its spec; `memory` is None the first time a leader plans it."""
    tasks = list(tasks)
    draft = yield from Draft.begin(
        service, tasks, nodes, now=now, waiting_since=_waiting_since(tasks, now, memory), new_id=new_id
    )
    mode = service.spec.mode
    kept: list[SlotKey] = []  # A job has no updates: it has new runs.
    if mode.global_ is not None:
        yield from plan_restarts(draft, may_refill=lambda node_id: may_fill(draft, nodes.get(str(node_id))))
        kept = yield from plan_coverage(draft)
    elif mode.global_job is not None:
        yield from plan_global_job(draft)
    elif mode.replicated_job is not None:
        yield from plan_replicated_job(draft)
    else:
        yield from plan_restarts(draft)
        kept = yield from plan_scaling(draft)
    update = yield from plan_update(draft, kept, memory.progress if memory is not None else None)
    yield from plan_starts(draft)

    # The update's state first: whoever sees a task of the new spec finds the update under way.
    actions: list[AnyAction] = [update.action] if update.action is not None else []
    actions += yield from draft.changes()
    return Plan(tuple(actions), draft.wake_at, Memory(draft.all_waiting_since(), update.progress))


def plan_removal(tasks: Iterable[Task]) -> tuple[RemoveTask, ...]:
    """Let go of the tasks of a service that is gone."""
    return tuple(RemoveTask(task.id) for task in tasks if task.desired_state < TaskState.REMOVE)


def _waiting_since(tasks: Iterable[Task], now: int, memory: Memory | None) -> Mapping[str, int]:
    if memory is not None:
        return memory.waiting_since
    # What a new leader finds waits since the record was made, but not since a time that is yet to come.
    return {task.id: min(task.created_at, now) for task in tasks if task.desired_state is TaskState.READY}
