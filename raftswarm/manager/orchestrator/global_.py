"""Global services: one task on every node that fits (SWARM 4.2)."""

from __future__ import annotations

from raftswarm.manager.orchestrator.draft import Draft, SlotKey
from raftswarm.objects.records import Node
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import can_host, fits
from raftswarm.world.slices import Slices


def may_fill(draft: Draft, node: Node | None) -> bool:
    """Tell whether the service may begin a task on the node now."""
    return (
        node is not None
        and can_host(node)
        and node.spec.availability == "active"
        and fits(draft.service.spec.task_template, node)
    )


def plan_coverage(draft: Draft) -> Slices[list[SlotKey]]:
    """Fill fitting nodes, leave paused ones alone, clear the others; return the nodes whose task may be updated."""
    for node_id, slot in draft.slots.items():
        yield
        node = draft.nodes.get(str(node_id))
        if node is None or not can_host(node) or not fits(draft.service.spec.task_template, node):
            # Of a node that is gone nobody will report an end: those records go at once.
            draft.retire(node_id, slot, TaskState.REMOVE if node is None else TaskState.SHUTDOWN)

    kept: list[SlotKey] = []
    for node_id in sorted(draft.nodes):
        yield
        if not may_fill(draft, draft.nodes[node_id]):
            continue
        if draft.updatable(node_id):
            kept.append(node_id)
        else:
            draft.fill(node_id)
    return kept
