"""What users call an object: its full id, its exact name, or a prefix of its id, in that order (SWARM 15)."""

from __future__ import annotations

from typing import TypeVar

from raftswarm.manager.control.refusals import ambiguous, no_match
from raftswarm.objects.records import Node, Service, Task
from raftswarm.store.store import Store

T = TypeVar("T", Node, Service, Task)


def look_up(store: Store, table: type[T], reference: str) -> T:
    """Return the one object that is meant; refused if there is none, or more than one."""
    exact = store.get(table, reference)
    if exact is not None:
        return exact
    found = [] if table is Task else list(store.all_by_name(table, reference))
    if not found and reference:
        found = list(store.by_id_prefix(table, reference))
    if not found:
        raise no_match(table.kind, reference)
    if len(found) > 1:
        raise ambiguous(table.kind, reference, len(found))
    return found[0]
