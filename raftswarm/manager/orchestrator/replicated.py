"""Replicated services: as many filled slots as the user asks for (SWARM 4.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count, islice
from typing import Final

from raftswarm.manager.orchestrator.draft import Draft, SlotKey, slot_order
from raftswarm.objects.records import Task
from raftswarm.objects.states import TaskState
from raftswarm.world.slices import Slices

_LAST: Final = 2**62


def plan_scaling(draft: Draft) -> Slices[list[SlotKey]]:
    """Fill free slots or remove the least valuable ones; return those that existed and are kept."""
    replicated = draft.service.spec.mode.replicated
    wanted = 1 if replicated is None or replicated.replicas is None else replicated.replicas
    filled: dict[SlotKey, list[Task]] = {}
    for key in draft.slots:
        yield
        if tasks := draft.updatable(key):
            filled[key] = tasks

    kept = yield from best_slots(filled, wanted)
    free = (number for number in count(1) if number not in filled)
    added = list(islice(free, max(0, wanted - len(filled))))
    staying = {*kept, *added}
    for key in draft.slots:
        yield
        if key not in staying:
            draft.retire(key, draft.slots[key], TaskState.REMOVE)
    for number in added:
        yield
        draft.fill(number)
    return kept


def best_slots(filled: dict[SlotKey, list[Task]], wanted: int) -> Slices[list[SlotKey]]:
    """The slots to keep: running before not running, spread over nodes, low numbers; crowded and unplaced ones last."""
    if len(filled) <= wanted:
        return list(filled)
    running: list[SlotKey] = []
    idle: list[SlotKey] = []
    for key in sorted(filled, key=slot_order):
        yield
        (running if _is_running(filled[key]) else idle).append(key)
    by_worth = running + idle
    copies: Counter[str] = Counter()
    pile: dict[SlotKey, int] = {}
    for key in by_worth:
        yield
        tasks = filled[key]
        if len(tasks) > 1 or not tasks[0].node_id:
            pile[key] = _LAST
        else:
            copies[tasks[0].node_id] += 1
            pile[key] = copies[tasks[0].node_id]
    best = sorted(by_worth, key=pile.__getitem__)  # Stable: ties keep the order from above.
    return sorted(best[:wanted], key=slot_order)


def _is_running(tasks: Sequence[Task]) -> bool:
    return any(task.status.state is TaskState.RUNNING for task in tasks)
