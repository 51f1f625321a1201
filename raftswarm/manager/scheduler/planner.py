"""One pass of the scheduler: nodes for the tasks that wait, or the reason why there is none (SWARM 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import TypeAlias

from raftswarm.manager.scheduler.actions import AnyAction, AssignTask, EndTask, ExplainTask
from raftswarm.manager.scheduler.filters import Needs, explain, first_failing
from raftswarm.manager.scheduler.ledger import Ledger, NodeLoad, SpecKey, spec_key
from raftswarm.manager.scheduler.placement import spread
from raftswarm.objects.records import Task
from raftswarm.objects.tasks import is_wanted
from raftswarm.world.slices import Slices

Group: TypeAlias = tuple[SpecKey, str]
"""Tasks that are placed together, in the order in which groups take their turns."""


def plan_assignments(ledger: Ledger, *, now: int) -> Slices[list[AnyAction]]:
    """Decide about every waiting task. The ledger is not changed: what is written comes back to it as changes.

    Nobody else may change it either until the plan is made.
    """
    loads: dict[str, NodeLoad] = {}
    for node_id in sorted(ledger.loads):
        yield
        loads[node_id] = ledger.loads[node_id].copy()
    failures = ledger.failures(now)

    actions: list[AnyAction] = []
    preassigned: list[Task] = []
    groups: dict[Group, list[Task]] = {}
    for task in ledger.pending.values():
        yield
        if not is_wanted(task):
            actions.append(EndTask(task.id, now))
        elif task.node_id:
            preassigned.append(task)
        else:
            groups.setdefault(_group_of(task), []).append(task)
    actions += yield from _confirm(sorted(preassigned, key=_by_spec), loads, now)
    for group in sorted(groups):
        tasks = sorted(groups[group], key=attrgetter("slot", "id"))
        actions += yield from _place_group(tasks, loads, _failures_of(failures, group[0]), now)
    return actions


def _confirm(preassigned: Iterable[Task], loads: Mapping[str, NodeLoad], now: int) -> Slices[list[AnyAction]]:
    """Check the nodes of tasks that were made for a node (5.4)."""
    actions: list[AnyAction] = []
    for task in preassigned:
        yield
        load = loads.get(task.node_id)
        if load is None:
            continue
        failing = first_failing(Needs.of(task), load)
        if failing is None:
            load.add(task)
            actions.append(AssignTask(task.id, load.node, now))
        elif task.status.error != failing.explain(1):
            actions.append(ExplainTask(task.id, failing.explain(1), now))
    return actions


def _place_group(
    tasks: list[Task], loads: Mapping[str, NodeLoad], failures: Mapping[str, int], now: int
) -> Slices[list[AnyAction]]:
    placed, left = yield from spread(tasks, loads.values(), failures)
    actions: list[AnyAction] = []
    for task, node_id in placed:
        yield
        actions.append(AssignTask(task.id, loads[node_id].node, now))
    if left:
        reasons = explain(Needs.of(left[0]), loads.values())
        error = f"no suitable node ({reasons})" if reasons else "no suitable node"
        for task in left:
            yield
            if task.status.error != error:
                actions.append(ExplainTask(task.id, error, now))
    return actions


def _failures_of(failures: Mapping[tuple[str, SpecKey], int], spec: SpecKey) -> dict[str, int]:
    return {node_id: count for (node_id, key), count in failures.items() if key == spec}


def _by_spec(task: Task) -> tuple[SpecKey, int, str]:
    return spec_key(task), task.slot, task.id


def _group_of(task: Task) -> Group:
    """Tasks of one spec of one service are placed together; those of no service one by one."""
    return spec_key(task), "" if task.service_id else task.id
