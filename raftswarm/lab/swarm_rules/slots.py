"""Rules 14 to 18, of slots: no task doubled, none forgotten, and restarts as their policy allows.

A slot may have two wanted tasks only while an update starts the new one first, and a replacement begins only when what
it replaces has stopped, was given up with its node, or has had its minute (SWARM 4.5, step 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from raftswarm.lab.swarm_rules.picture import (
    LATELY,
    Rule,
    Step,
    is_alike,
    is_done,
    is_global,
    is_let_run,
    run_of,
    slot_of,
    tell,
)
from raftswarm.objects import defaults
from raftswarm.objects.policies import restart_rule, update_rule
from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import holds_resources, is_wanted

OLD_TASK_TIMEOUT: Final = round(defaults.OLD_TASK_TIMEOUT_SECONDS * defaults.SECOND)


def no_task_is_doubled(step: Step) -> Iterator[str]:
    """A slot has one wanted task, or two of different specs while an update starts the new one first (SWARM 2.2, 4.9).

    What a job has done in earlier runs fills no slot. And a replicated service fills no more slots than it has
    replicas, a replicated job no more at once and no others than its user asks for (4.3).
    """
    yield from _check_replicas(step)
    yield from _check_completions(step)
    for task in step.born(Task):
        others = [other for other in step.picture.others(task) if is_wanted(other) and not _is_over(other, task)]
        if not others:
            continue
        service = step.picture.services.get(task.service_id)
        if len(others) > 1:
            yield f"{tell(task)} was made beside {len(others)} others that are wanted"
        elif is_alike(others[0], task):
            yield f"{tell(task)} was made beside {others[0].id}, which is wanted and of the same spec"
        elif service is not None and update_rule(service).order != "start-first" and not _takes_over(step, task):
            yield f"{tell(task)} was made beside {others[0].id}, which is wanted, though updates here stop first"


def _is_over(task: Task, later: Task) -> bool:
    return is_done(task) and task.job_iteration != later.job_iteration


def _takes_over(step: Step, task: Task) -> bool:
    """Tell whether its like is let go in the same command: then there are as many as before."""
    return any(slot_of(gone) == slot_of(task) and is_alike(gone, task) for gone in step.retired())


def _check_replicas(step: Step) -> Iterator[str]:
    retired = {slot_of(task) for task in step.retired()}
    filled_anew = {
        task.service_id: None
        for task in step.born(Task)
        if slot_of(task) not in retired and not any(map(is_wanted, step.picture.others(task)))
    }
    for service_id in filled_anew:
        service = step.picture.services.get(service_id)
        if service is None or service.spec.mode.replicated is None:
            continue
        filled = [key for key, records in step.picture.slots.items() if any(map(is_wanted, records.values()))]
        count = sum(owner == service_id for owner, _ in filled)
        replicas = service.spec.mode.replicated.replicas
        if count > (1 if replicas is None else replicas):
            yield f"service {service.spec.name} ({service_id}) was given a task for slot {count} of {replicas}"


def _check_completions(step: Step) -> Iterator[str]:
    for task in step.born(Task):
        service = step.picture.services.get(task.service_id)
        job = service.spec.mode.replicated_job if service is not None else None
        if job is None:
            continue
        if task.slot > (job.total_completions or 0):
            yield f"{tell(task)} was made for a job of {job.total_completions} completions"
        under_way = {slot_of(other) for other in step.picture.tasks.values() if _is_under_way_with(task, other)}
        if len(under_way) > (job.max_concurrent or 0):
            yield f"{tell(task)} is number {len(under_way)} at once, {job.max_concurrent} at most"


def _is_under_way_with(task: Task, other: Task) -> bool:
    is_of_run = (other.service_id, other.job_iteration) == (task.service_id, task.job_iteration)
    return is_of_run and is_wanted(other) and not is_done(other)


def no_slot_is_forgotten(step: Step) -> Iterator[str]:
    """Who lets go of the last task that a slot should have makes the next in the same command (SWARM 4.1, 4.5)."""
    for task in step.retired():
        service = step.picture.services.get(task.service_id)
        if service is None or is_global(service) or task.desired_state is TaskState.REMOVE:
            continue  # Nobody wants the slot; or a node decides, and the rules at rest look at it.
        if task.job_iteration != run_of(service):
            continue  # The job is in another run, which has its slots for itself.
        others = step.picture.others(task)
        if any(is_wanted(other) for other in others) or _may_end_for_good(step, task, others):
            continue
        yield f"{tell(task)} was let go, and nobody is wanted in its place"


def _may_end_for_good(step: Step, task: Task, others: list[Task]) -> bool:
    rule = restart_rule(task.spec)
    is_over = _cannot_go_on(step, task)
    if rule.condition == "none":
        return is_over
    if rule.condition == "on-failure" and task.status.state is TaskState.COMPLETE:
        return True
    alike = sum(is_alike(other, task) for other in others)
    return bool(rule.max_attempts) and is_over and alike >= rule.max_attempts


def _cannot_go_on(step: Step, task: Task) -> bool:
    return task.status.state.is_terminal or (bool(task.node_id) and not step.picture.could_host(task.node_id))


def replacements_wait_for_what_they_replace(step: Step) -> Iterator[str]:
    """A task is let start when the one before it in its slot has stopped, or cannot be waited for (SWARM 4.5, step 6).

    Only an update may start the new one first.
    """
    for before, task in step.pairs(Task):
        if task is None or not is_let_run(task):
            continue
        if before is not None and is_let_run(before):
            continue
        planned_at = step.picture.planned_at.get(task.id)
        if planned_at is None or step.picture.has_come(planned_at + OLD_TASK_TIMEOUT):
            continue
        if before is None and _starts_first(step, task):
            continue
        since = step.picture.born_with.get(task.id, 0) - LATELY
        for other in step.picture.others(task):
            if is_wanted(other) or not holds_resources(other):
                continue
            if not step.picture.was_given_up_since(other.node_id, since):
                yield f"{tell(task)} was let start while {other.id} on node {other.node_id} may still run"


def _starts_first(step: Step, task: Task) -> bool:
    service = step.picture.services.get(task.service_id)
    return service is not None and service.update_status is not None and update_rule(service).order == "start-first"


def restarts_wait_their_delay(step: Step) -> Iterator[str]:
    """What replaces a task that ended by itself waits as long as its policy says (SWARM 4.5, step 6)."""
    for before, task in step.changed(Task):
        if before.desired_state is not TaskState.READY or not is_let_run(task):
            continue
        planned_at = step.picture.planned_at.get(task.id)
        slot = step.picture.slot(task)
        earlier = slot[: slot.index(task)]
        if planned_at is None or not earlier:
            continue
        last = earlier[-1]
        ended_by_itself = (
            last.status.state in {TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED}
            and (last.spec, last.spec_version) == (task.spec, task.spec_version)
            and step.picture.could_host(last.node_id)
        )
        due = planned_at + restart_rule(task.spec).delay
        if ended_by_itself and not step.picture.has_come(due):
            early = (due - step.picture.time) / defaults.SECOND
            yield f"{tell(task)} was let start {early:g} s before its restart delay was over"


def restarts_follow_their_policy(step: Step) -> Iterator[str]:
    """Who may not be restarted is not: the condition, and the number of attempts without a window (SWARM 4.5).

    Of a job's run no task is made again that is done, whatever the condition, and those of other runs do not count.
    """
    retired = {task.id for task in step.retired()}
    for task in step.born(Task):
        others = [other for other in step.picture.others(task) if other.job_iteration == task.job_iteration]
        may_be_restart = task.desired_state is TaskState.READY or task.job_iteration is not None
        if not may_be_restart or not others:
            continue
        last = others[-1]
        if not is_alike(last, task) or last.desired_state is TaskState.REMOVE:
            continue  # No restart: an update, or a slot that was given up and is filled again.
        if any(other.id in retired and not is_alike(other, task) for other in others):
            continue  # That one was lost too, and its own policy decides.
        rule = restart_rule(last.spec)
        ends_well = rule.condition == "on-failure" or task.job_iteration is not None
        if rule.condition == "none" or (ends_well and last.status.state is TaskState.COMPLETE):
            yield f"{tell(task)} replaces {last.id}, {last.status.state.name}, which is restarted {rule.condition}"
        attempts = _restarts(others)
        if rule.max_attempts and not rule.window and attempts >= rule.max_attempts:
            yield f"{tell(task)} is restart {attempts + 1} of {rule.max_attempts} in its slot"


def _restarts(slot: list[Task]) -> int:
    """How many restarts the newest tasks of one spec and run are, in a row."""
    return len([*takewhile(lambda task: is_alike(task, slot[-1]), reversed(slot))]) - 1


RULES: Final = (
    Rule(14, "no task is doubled", no_task_is_doubled),
    Rule(15, "no slot is forgotten", no_slot_is_forgotten),
    Rule(16, "replacements wait for what they replace", replacements_wait_for_what_they_replace),
    Rule(17, "restarts wait their delay", restarts_wait_their_delay),
    Rule(18, "restarts follow their policy", restarts_follow_their_policy),
)
