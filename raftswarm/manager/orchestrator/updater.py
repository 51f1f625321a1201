"""Rolling updates: moves slots to the current spec, a few at a time, and watches how they fare (SWARM 4.9).

There are no worker tasks: how far each slot has come is read from its records. A slot whose dirty task has a successor
is *begun*; it is *settled* once that successor has run, or ended, for the update's delay; at most `parallelism` slots
are begun and not settled. What the records cannot tell, because a later state hides an earlier one, is `Progress`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
from msgspec import structs

from raftswarm.manager.orchestrator.actions import ReportUpdate, RollBack
from raftswarm.manager.orchestrator.draft import Draft, SlotKey
from raftswarm.objects.policies import UpdateRule, update_rule
from raftswarm.objects.records import Service, Task, UpdateStatus
from raftswarm.objects.states import TaskState, UpdateState
from raftswarm.objects.tasks import is_wanted
from raftswarm.world.slices import Slices

UNDER_WAY: Final = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
PAUSED: Final = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
_ENDED_ON_REQUEST: Final = (TaskState.SHUTDOWN, TaskState.ORPHANED)


def is_under_way(service: Service) -> bool:
    """Tell whether slots of the service are on their way to another spec."""
    return service.update_status is not None and service.update_status.state in UNDER_WAY


@attrs.frozen
class Progress:
    """What this leader has seen of one update; a new leader begins with what the records say."""

    spec_version: int
    reached: Mapping[SlotKey, int] = attrs.field(factory=dict)
    """When the first successor in a slot was seen to run, or to have ended."""
    running_since: Mapping[str, int] = attrs.field(factory=dict)
    """By task id."""
    failed: Mapping[SlotKey, str] = attrs.field(factory=dict)
    """The first successor of a slot that ended too early."""
    judged: frozenset[str] = frozenset()
    """The successors that have ended, early or not."""


@attrs.frozen
class UpdatePlan:
    """What an update wants beyond its slots, which are in the draft."""

    action: ReportUpdate | RollBack | None = None
    progress: Progress | None = None
    """None when no update is under way."""


def plan_update(draft: Draft, keys: Sequence[SlotKey], progress: Progress | None) -> Slices[UpdatePlan]:
    """Take an update as far as it can go now."""
    status = draft.service.update_status
    state = status.state if status is not None else None
    if state in PAUSED:
        return UpdatePlan()  # Until the user writes the next spec.

    stale, crowded = yield from _sort_out(draft, keys)
    action = None
    if state not in UNDER_WAY:
        if not stale and not any(draft.is_dirty(task) for key in crowded for task in draft.updatable(key)):
            yield from _clear_crowds(draft, crowded, update_rule(draft.service))
            return UpdatePlan()
        status = UpdateStatus(state=UpdateState.UPDATING, message="update in progress", started_at=draft.now)
        action = _report(draft, status)
        progress = Progress(draft.service.spec_version)
    assert status is not None
    if progress is not None and progress.spec_version != draft.service.spec_version:
        progress = Progress(draft.service.spec_version)

    rule = update_rule(draft.service)
    begun: dict[SlotKey, list[Task]] = {}
    for key in keys:
        yield
        if successors := _successors(draft, key, status.started_at):
            begun[key] = successors
    progress = yield from _observe(draft, begun, rule, progress)
    if verdict := _judge(draft, rule, status, progress, slots=len(begun.keys() | set(stale))):
        return UpdatePlan(verdict)

    yield from _clear_crowds(draft, crowded, rule)
    busy, last_settled_at = yield from _settle(draft, begun, rule, progress)
    stale = yield from _idle_first(draft, stale)
    for key in stale[: max(0, rule.parallelism - busy)]:
        yield
        _begin(draft, key, rule)

    is_mixed = any(draft.is_dirty(task) for key in crowded for task in draft.updatable(key))
    if not (stale or busy or is_mixed):
        complete_at = draft.now if last_settled_at is None else last_settled_at + rule.settling
        if draft.now >= complete_at:
            return UpdatePlan(_complete(draft, status))
        draft.wake(complete_at)
    return UpdatePlan(action, progress)


def _sort_out(draft: Draft, keys: Sequence[SlotKey]) -> Slices[tuple[list[SlotKey], list[SlotKey]]]:
    """The slots without a task of the current spec, and those that have one beside others."""
    stale: list[SlotKey] = []
    crowded: list[SlotKey] = []
    for key in keys:
        yield
        tasks = draft.updatable(key)
        if all(draft.is_dirty(task) for task in tasks):
            stale.append(key)
        elif len(tasks) > 1:
            crowded.append(key)
    return stale, crowded


def _successors(draft: Draft, key: SlotKey, since: int) -> list[Task]:
    """The tasks of a slot that came after the last one of another spec.

    Not those that an earlier update to the same spec began and took back: they say nothing about this one.
    """
    slot = draft.slots[key]
    dirty = [position for position, task in enumerate(slot) if draft.is_dirty(task)]
    later = slot[dirty[-1] + 1 :] if dirty else []
    version = draft.service.spec_version
    return [task for task in later if is_wanted(task) or (task.spec_version == version and task.created_at >= since)]


def _observe(
    draft: Draft, begun: Mapping[SlotKey, Sequence[Task]], rule: UpdateRule, known: Progress | None
) -> Slices[Progress]:
    """Add what can be seen now. A new leader (`known` is None) takes times from the records, never from the future."""
    progress = known or Progress(draft.service.spec_version)
    reached, running_since, failed = dict(progress.reached), dict(progress.running_since), dict(progress.failed)
    for key, successors in begun.items():
        yield
        for task in successors:
            if task.status.state < TaskState.RUNNING:
                continue
            seen = draft.now
            if known is None:
                seen = min(seen, task.status.applied_at or task.status.timestamp)
            reached.setdefault(key, seen)
            if task.status.state is TaskState.RUNNING:
                running_since.setdefault(task.id, seen)
            elif task.status.state not in _ENDED_ON_REQUEST and task.id not in progress.judged:
                began = running_since.get(task.id, seen)
                if known is None and not draft.was_wanted(task):
                    began = task.created_at  # The leader before has judged it; this is as much as can be known.
                if seen - began < rule.monitor:
                    failed.setdefault(key, task.id)
    judged = frozenset(task.id for successors in begun.values() for task in successors if task.status.state.is_terminal)
    return Progress(progress.spec_version, reached, running_since, failed, judged)


def _judge(
    draft: Draft, rule: UpdateRule, status: UpdateStatus, progress: Progress, *, slots: int
) -> ReportUpdate | RollBack | None:
    """Stop an update in which too many slots failed."""
    if rule.failure_action == "continue" or not progress.failed:
        return None
    if len(progress.failed) / max(slots, len(progress.failed)) <= rule.max_failure_ratio:
        return None
    cause = f"due to failure or early termination of task {list(progress.failed.values())[-1]}"
    rolling_back = status.state is UpdateState.ROLLBACK_STARTED
    if rule.failure_action == "rollback" and not rolling_back:
        if draft.service.previous_spec is not None:
            rolled_back = UpdateStatus(
                state=UpdateState.ROLLBACK_STARTED, message=f"update rolled back {cause}", started_at=draft.now
            )
            return RollBack(draft.service.id, draft.service.spec_version, rolled_back)
        cause += "; cannot roll back service because no previous spec is available"
    what = "rollback" if rolling_back and rule.failure_action == "rollback" else "update"
    paused = UpdateState.ROLLBACK_PAUSED if rolling_back else UpdateState.PAUSED
    return _report(draft, structs.replace(status, state=paused, message=f"{what} paused {cause}"))


def _settle(
    draft: Draft, begun: Iterable[SlotKey], rule: UpdateRule, progress: Progress
) -> Slices[tuple[int, int | None]]:
    """How many begun slots are not settled yet, and when the last of the others will have been."""
    busy = 0
    last: int | None = None
    for key in begun:
        yield
        reached = progress.reached.get(key)
        settled_at = reached + rule.delay if reached is not None else None
        if settled_at is None or draft.now < settled_at:
            busy += 1
        if settled_at is not None:
            last = settled_at if last is None else max(last, settled_at)
            if draft.now < settled_at:
                draft.wake(settled_at)
    return busy, last


def _idle_first(draft: Draft, keys: Iterable[SlotKey]) -> Slices[list[SlotKey]]:
    """What does not run anyway comes first: so an update never takes more down than it must."""
    idle: list[SlotKey] = []
    running: list[SlotKey] = []
    for key in keys:
        yield
        runs = any(task.status.state is TaskState.RUNNING for task in draft.updatable(key))
        (running if runs else idle).append(key)
    return idle + running


def _clear_crowds(draft: Draft, crowded: Iterable[SlotKey], rule: UpdateRule) -> Slices[None]:
    """Leave one task in each slot that has one of the current spec; start-first waits until that one runs."""
    for key in crowded:
        yield
        tasks = draft.updatable(key)
        kept = max((task for task in tasks if not draft.is_dirty(task)), key=_worth)
        may_go = rule.order != "start-first" or kept.status.state is TaskState.RUNNING
        draft.retire(key, [task for task in tasks if task is not kept and (may_go or not draft.is_dirty(task))])


def _worth(task: Task) -> tuple[bool, TaskState]:
    return task.status.state is TaskState.RUNNING, task.desired_state


def _begin(draft: Draft, key: SlotKey, rule: UpdateRule) -> None:
    tasks = [task for task in draft.updatable(key) if is_wanted(task)]
    if rule.order == "start-first":
        running = [task for task in tasks if task.status.state is TaskState.RUNNING]
        draft.retire(key, [task for task in tasks if task not in running[:1]])
        draft.add(key, TaskState.RUNNING)
    else:
        draft.retire(key, tasks)
        draft.add(key, TaskState.READY)


def _complete(draft: Draft, status: UpdateStatus) -> ReportUpdate:
    rolling_back = status.state is UpdateState.ROLLBACK_STARTED
    return _report(
        draft,
        structs.replace(
            status,
            state=UpdateState.ROLLBACK_COMPLETED if rolling_back else UpdateState.COMPLETED,
            message="rollback completed" if rolling_back else "update completed",
            completed_at=draft.now,
        ),
    )


def _report(draft: Draft, status: UpdateStatus) -> ReportUpdate:
    return ReportUpdate(draft.service.id, draft.service.spec_version, status)
