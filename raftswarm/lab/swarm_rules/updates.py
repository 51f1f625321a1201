"""Rules 19 to 23, of rolling updates: how many slots at once, in which order, and what ends an update (SWARM 4.9).

An update takes on a slot when a task of the service's present spec takes the place of one that could have gone on. The
slot is settled once such a task has run there, or ended, for the update's delay. Slots that were lost anyway are
refilled with the present spec too, and count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raftswarm.lab.swarm_rules.picture import LATELY, ROUNDING, Begun, Picture, Rule, Step, slot_of, tell
from raftswarm.objects import defaults
from raftswarm.objects.policies import UpdateRule, update_rule
from raftswarm.objects.records import Service, Task
from raftswarm.objects.specs import is_job
from raftswarm.objects.states import TaskState, UpdateState
from raftswarm.objects.tasks import fits, is_dirty, is_wanted

_UNDER_WAY: Final = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)
_ENDED_ON_REQUEST: Final = (TaskState.SHUTDOWN, TaskState.ORPHANED)

# By the system, while the spec stays. A user's next spec clears the state, and a rollback begins with another spec.
_STATUS_CHANGES: Final[dict[UpdateState | None, tuple[UpdateState, ...]]] = {
    None: (UpdateState.UPDATING, UpdateState.COMPLETED),  # Completed at once: what is too much goes, nothing is made.
    UpdateState.UPDATING: (UpdateState.PAUSED, UpdateState.COMPLETED),
    UpdateState.PAUSED: (),
    UpdateState.COMPLETED: (UpdateState.UPDATING,),
    UpdateState.ROLLBACK_STARTED: (UpdateState.ROLLBACK_PAUSED, UpdateState.ROLLBACK_COMPLETED),
    UpdateState.ROLLBACK_PAUSED: (),
    UpdateState.ROLLBACK_COMPLETED: (UpdateState.UPDATING,),
}


def follow_updates(step: Step) -> None:
    """Remember which slots updates have taken on, and when those got where they should."""
    begun = step.picture.begun
    for before, after in step.pairs(Service):
        if after is None:
            begun.pop(before.id if before is not None else "", None)
        elif before is None or before.spec_version != after.spec_version:
            begun[after.id] = {}
    retired = {task.id for task in step.retired()}
    for task in step.born(Task):
        service = step.picture.services.get(task.service_id)
        if service is None or is_job(service.spec.mode):
            continue
        if replaced := _replaced(step, task, service, retired):
            taken = begun.setdefault(service.id, {})
            taken.setdefault(slot_of(task)[1], Begun(step.index, task.status.timestamp, replaced))
    for _, task in step.changed(Task):
        taken_on = begun.get(task.service_id, {}).get(slot_of(task)[1])
        if taken_on is None or taken_on.reached_at is not None or task.status.state < TaskState.RUNNING:
            continue
        if step.picture.born_with.get(task.id, -1) >= taken_on.index:
            taken_on.reached_at = task.status.applied_at or task.status.timestamp


def _replaced(step: Step, task: Task, service: Service, retired: set[str]) -> frozenset[str]:
    """The tasks of another spec that a new one takes the place of, although they could have gone on."""
    others = step.picture.others(task)
    if any(other.id in retired and _is_lost(step.picture, other) for other in others):
        return frozenset()  # It replaces that one, and would have been made without an update.
    return frozenset(
        other.id
        for other in others
        if (is_wanted(other) or other.id in retired)
        and not _is_lost(step.picture, other)
        and is_dirty(other, service, None)
    )


def _is_lost(picture: Picture, task: Task) -> bool:
    return task.status.state.is_terminal or (bool(task.node_id) and not picture.could_host(task.node_id))


def updates_take_on_few_slots_at_once(step: Step) -> Iterator[str]:
    """At most `parallelism` slots are under way, and none is taken on but by an update under way (SWARM 4.9)."""
    for service_id in {task.service_id: None for task in step.born(Task)}:
        service = step.picture.services.get(service_id)
        if service is None:
            continue
        taken = step.picture.begun.get(service_id, {})
        new = [begun for begun in taken.values() if begun.index == step.index]
        if not new:
            continue
        status, rule = service.update_status, update_rule(service)
        name = f"service {service.spec.name} ({service_id})"
        if status is None or status.state not in _UNDER_WAY:
            state = status.state.value if status is not None else "not begun"
            yield f"{name} replaces tasks in {len(new)} slots while its update is {state}"
        now = min(begun.planned_at for begun in new)
        busy = _unsettled(step.picture, service, rule, now)
        if len(busy) > rule.parallelism:
            yield f"{name} updates slots {busy} at once, {rule.parallelism} at most"


def _unsettled(picture: Picture, service: Service, rule: UpdateRule, now: int) -> list[int | str]:
    busy = []
    for key, begun in picture.begun.get(service.id, {}).items():
        if begun.reached_at is not None:
            is_settled = now + ROUNDING >= begun.reached_at + rule.delay
            if is_settled or not picture.clocks_are_true:
                continue
        if _is_in_sight(picture, service, key, begun):
            busy.append(key)
    return busy


def _is_in_sight(picture: Picture, service: Service, key: int | str, begun: Begun) -> bool:
    """Tell whether the update still looks at a slot.

    Not if it was given up, if its node is a matter of its own, or if what was replaced is of the present spec after
    all: constraints look at the labels that nodes have now, and ports are given to tasks that have not begun.
    """
    if isinstance(key, str):
        node = picture.nodes.get(key)
        if node is None or node.spec.availability != "active" or picture.has_changed_since(key, begun.index):
            return False
    replaced = [picture.tasks[task_id] for task_id in begun.replaces if task_id in picture.tasks]
    if replaced and not any(is_dirty(task, service, picture.nodes.get(task.node_id)) for task in replaced):
        return False
    return any(is_wanted(task) for task in picture.slots.get((service.id, key), {}).values())


def start_first_keeps_the_old_until_the_new_runs(step: Step) -> Iterator[str]:
    """With start-first a running task goes when one of the new spec has run in its slot, not sooner (SWARM 4.9)."""
    for before, task in step.changed(Task):
        if (
            not is_wanted(before)
            or task.desired_state is not TaskState.SHUTDOWN
            or before.version > step.index - LATELY
        ):
            continue  # What has only just begun to run did not run yet when that was decided.
        service = step.picture.services.get(task.service_id)
        if service is None or task.status.state is not TaskState.RUNNING or update_rule(service).order != "start-first":
            continue
        if not is_dirty(task, service, None) or _must_leave(step.picture, task, service):
            continue
        others = step.picture.others(task)
        has_run = any(
            other.status.state >= TaskState.RUNNING and other.spec_version == service.spec_version for other in others
        )
        if not has_run and not any(is_wanted(other) and other.status.state is TaskState.RUNNING for other in others):
            yield f"{tell(task)} was told to stop before any task of the new spec has run in its slot"


def _must_leave(picture: Picture, task: Task, service: Service) -> bool:
    """Tell whether its node lets go of a task, or may have let go of it when that was decided."""
    node = picture.nodes.get(task.node_id)
    if node is None or not picture.could_host(node.id):
        return True
    is_global = service.spec.mode.global_ is not None
    return is_global and not (picture.is_steady(node.id) and fits(service.spec.task_template, node))


def update_states_follow_one_another(step: Step) -> Iterator[str]:
    """How an update's state may go on while the spec stays, and that only a failing update rolls back (SWARM 4.9).

    A job has none: it has runs (1.5).
    """
    for before, after in step.changed(Service):
        old = before.update_status.state if before.update_status is not None else None
        new = after.update_status.state if after.update_status is not None else None
        if old == new:
            continue
        name = f"service {after.spec.name} ({after.id})"
        if new is not None and is_job(after.spec.mode):
            yield f"{name} is a job, and its update is {new.value}"
        if before.spec_version == after.spec_version and before.spec == after.spec:
            if new not in _STATUS_CHANGES[old]:
                yield f"the update of {name} went from {old or 'nothing'} to {new or 'nothing'}"
        elif new is UpdateState.ROLLBACK_STARTED and after.previous_spec is None and old is not UpdateState.UPDATING:
            yield f"{name} was rolled back by itself from {old or 'no update'}"


def updates_stop_for_a_reason(step: Step) -> Iterator[str]:
    """An update pauses or rolls back when tasks of its spec end too early, and if its action says so (SWARM 4.9)."""
    for before, after in step.changed(Service):
        if before.update_status == after.update_status or after.update_status is None:
            continue
        state = after.update_status.state
        by_itself = state is UpdateState.ROLLBACK_STARTED and after.previous_spec is None
        if state not in {UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED} and not by_itself:
            continue
        name = f"service {after.spec.name} ({after.id})"
        action = update_rule(before).failure_action
        if action == "continue" or (by_itself and action != "rollback"):
            yield f"the update of {name} is {state.value}, with the failure action {action}"
        if not any(_ended_by_itself(task, before) for task in step.picture.tasks.values()):
            yield f"the update of {name} is {state.value}, and no task of its spec has ended by itself"


def _ended_by_itself(task: Task, service: Service) -> bool:
    return (
        task.service_id == service.id
        and task.spec_version == service.spec_version
        and task.status.state.is_terminal
        and task.status.state not in _ENDED_ON_REQUEST
    )


def updates_complete_when_all_is_new(step: Step) -> Iterator[str]:
    """Completed means: every wanted task is of the present spec, and the last slot has been watched (SWARM 4.9)."""
    for before, after in step.changed(Service):
        if before.update_status == after.update_status or after.update_status is None:
            continue
        if after.update_status.state not in {UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED}:
            continue
        picture, rule = step.picture, update_rule(before)
        for task in picture.tasks.values():
            is_of_it = task.service_id == after.id and is_wanted(task)
            is_old = is_of_it and is_dirty(task, after, picture.nodes.get(task.node_id))
            if is_old and _may_be_updated(picture, task, after):
                yield f"the update of the service completed, but {tell(task)} is of spec {task.spec_version}"
        for key, begun in picture.begun.get(after.id, {}).items():
            if not _is_in_sight(picture, after, key, begun):
                continue
            if begun.reached_at is None:
                yield f"the update of service {after.spec.name} ({after.id}) completed before slot {key} ran"
                continue
            due = begun.reached_at + rule.delay + rule.settling
            if not picture.has_come(due):
                early = (due - picture.time) / defaults.SECOND
                yield (
                    f"the update of service {after.spec.name} ({after.id}) completed {early:g} s before "
                    f"slot {key} had been watched for its time"
                )


def _may_be_updated(picture: Picture, task: Task, service: Service) -> bool:
    """Tell whether an update would have replaced it: tasks of global services on paused nodes stay as they are."""
    node = picture.nodes.get(task.node_id)
    if node is not None and not picture.is_steady(node.id):
        return False
    return service.spec.mode.global_ is None or (node is not None and node.spec.availability == "active")


RULES: Final = (
    Rule(19, "updates take on few slots at once", updates_take_on_few_slots_at_once),
    Rule(20, "start-first keeps the old until the new runs", start_first_keeps_the_old_until_the_new_runs),
    Rule(21, "update states follow one another", update_states_follow_one_another),
    Rule(22, "updates stop for a reason", updates_stop_for_a_reason),
    Rule(23, "updates complete when all is new", updates_complete_when_all_is_new),
)
